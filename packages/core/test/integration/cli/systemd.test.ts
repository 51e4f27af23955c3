/** What systemd hears of `lovage worker` under `Type=notify`. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { hasSystemdNotify, NotifySocket } from "../../support/notify-socket.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { Project } from "./project.ts";

const WATCHDOG_USEC = "1500000";

test.skipIf(!hasSystemdNotify)("it is ready when all processes consume, says what it does, and that it stops", async () => {
  await using project = new Project();
  await using systemd = await NotifySocket.open(join(project.directory, "notify"));
  const worker = project.start(["-A", "src/app", "worker", "--processes", "2"], {
    env: { NOTIFY_SOCKET: join(project.directory, "notify") },
  });
  expect(await systemd.says(/READY/)).toBe("READY=1|STATUS=2 of 2 worker processes take tasks, 0 tasks run");
  expect(systemd.messages).toHaveLength(1);
  worker.signal("SIGTSTP");
  await systemd.says(/^STATUS=quiet: takes no tasks, 0 tasks run$/);
  worker.signal("SIGCONT");
  await systemd.says(/take tasks/, 2);
  worker.signal("SIGTERM");
  expect(await worker.finished).toMatchObject({ code: 0 });
  await systemd.says(/^STOPPING=1\|STATUS=stopping \(warm\), 0 tasks run$/);
  expect(systemd.messages.join()).not.toContain("WATCHDOG");
});

test.skipIf(!hasSystemdNotify)("its watchdog is fed only while the worker really consumes", async () => {
  await using project = new Project();
  await using redis = await RedisServer.start();
  const name = `@lovage-test-${process.pid}`;
  await using systemd = await NotifySocket.open(name);
  const worker = project.start(["-A", "src/app", "worker", "-b", redis.url, "--result-backend", redis.url], {
    env: { NOTIFY_SOCKET: name, WATCHDOG_USEC },
  });
  await systemd.says(/READY/);
  const fed = async (): Promise<void> => void (await systemd.says(/WATCHDOG=1/, systemd.messages.length));
  await fed();
  await fed();
  await redis.halt();
  await worker.says(/systemd's watchdog is not fed: 0 of 1 worker processes/);
  const fedUntilThen = systemd.messages.filter((message) => message.includes("WATCHDOG")).length;
  await redis.restart();
  const seen = worker.stderr.length;
  await worker.says(/consuming from \S+ again/, seen);
  await fed();
  expect(systemd.messages.filter((message) => message.includes("WATCHDOG")).length).toBe(fedUntilThen + 1);
  await worker.end();
});

test("nothing is told to nobody, and what cannot be told is said in the log", async () => {
  await using project = new Project();
  const worker = project.start(["-A", "src/app", "worker"], { env: { NOTIFY_SOCKET: join(project.directory, "nobody-listens") } });
  await worker.says(/ready\./);
  await worker.says(/systemd waits for word of this service \(Type=notify\) and cannot be told/);
  worker.signal("SIGTERM");
  expect(await worker.finished).toMatchObject({ code: 0 });
});
