import pc from "picocolors";
import { expect, test } from "vitest";
import { parseArgv, type Invocation } from "./argv.ts";
import { acceptedRemarks, checkRefused } from "./celery-worker-options.ts";
import { COMMANDS } from "./command-table.ts";
import { UsageError } from "./errors.ts";
import { readGlobalOptions } from "./global-options.ts";

const PLAIN = pc.createColors(false);

async function invocation(...argv: string[]): Promise<Invocation> {
  const parsed = await parseArgv(argv, PLAIN, 80);
  if (parsed.kind !== "run") throw new Error(`an answer instead of a command: ${parsed.text}`);
  return parsed;
}

async function refusal(...argv: string[]): Promise<UsageError> {
  const error: unknown = await parseArgv(argv, PLAIN, 80).catch((reason: unknown) => reason);
  if (!(error instanceof UsageError)) throw new Error(`no UsageError, but ${String(error)}`);
  return error;
}

test("options of all commands may stand before or after the command", async () => {
  for (const argv of [
    ["-A", "./app.ts", "-q", "worker", "-c", "4"],
    ["worker", "-c", "4", "-A", "./app.ts", "-q"],
  ]) {
    const { globals, options } = await invocation(...argv);
    expect(globals).toMatchObject({ app: "./app.ts", quiet: true, json: false });
    expect(options["concurrency"]).toBe(4);
  }
});

test("options of a worker are written as Celery's are", async () => {
  const { options } = await invocation("worker", "-Q", "mail, reports,", "-Xslow", "-l", "INFO", "-P", "gevent", "-n", "w@%h", "--purge", "-E", "-Ofair", "--without-gossip", "--time-limit=1m", "--soft-time-limit", "30"); // prettier-ignore
  expect(options).toMatchObject({
    queues: ["mail", "reports"],
    exclude: ["slow"],
    level: "info",
    pool: "gevent",
    name: "w@%h",
    purge: true,
    taskEvents: true,
    optimization: "fair",
    withoutGossip: true,
    beat: false,
    timeLimitMs: 60_000,
    softTimeLimitMs: 30_000,
    watch: false,
  });
});

test("what stands behind -- are settings", async () => {
  const { settings, options } = await invocation("worker", "-c", "2", "--", "worker.prefetch_multiplier=4", "taskDefaultQueue=a=b");
  expect(options["concurrency"]).toBe(2);
  expect(readGlobalOptions({}, settings, {}).settings).toEqual({ worker_prefetch_multiplier: "4", taskDefaultQueue: "a=b" });
  expect(() => readGlobalOptions({}, ["purge"], {})).toThrow(UsageError);
});

test("a call's arguments are JSON, and what is not is refused with the reason", async () => {
  const { args, options } = await invocation(
    "call",
    "shop.add",
    "-a",
    '[1, "x"]',
    "-k",
    '{"a": null}',
    "--countdown",
    "90s",
    "--priority",
    "0",
  );
  expect(args).toEqual(["shop.add"]);
  expect(options).toMatchObject({ args: '[1, "x"]', kwargs: '{"a": null}', countdownMs: 90_000, priority: 0 });
  expect((await refusal("call", "shop.add", "-a", "[1")).message).toMatch(/--args <json>.*not JSON/);
  expect((await refusal("call", "shop.add", "-a", '{"a": 1}')).message).toMatch(/takes an array/);
  expect((await refusal("call", "shop.add", "-k", "[1]")).message).toMatch(/takes an object/);
});

test("times are durations or ISO 8601, and a time without an offset is UTC", async () => {
  expect((await invocation("call", "t", "--eta", "2026-12-24T18:00:00")).options["eta"]).toEqual(new Date("2026-12-24T18:00:00Z"));
  expect((await invocation("call", "t", "--eta", "2026-12-24T18:00:00+02:00")).options["eta"]).toEqual(new Date("2026-12-24T16:00:00Z"));
  expect((await invocation("call", "t", "--expires", "15m")).options["expires"]).toEqual({ afterMs: 900_000 });
  expect((await invocation("call", "t", "--expires", "2000")).options["expires"]).toEqual({ afterMs: 2_000_000 });
  expect((await invocation("call", "t", "--expires", "2026-12-24")).options["expires"]).toEqual({ at: new Date("2026-12-24T00:00:00Z") });
  expect((await refusal("call", "t", "--eta", "tomorrow")).message).toMatch(/ISO 8601/);
  expect((await refusal("call", "t", "--countdown", "-1")).message).toMatch(/--countdown/);
});

test("near names are suggested", async () => {
  expect((await refusal("wroker")).hint).toBe("did you mean worker?");
  expect((await refusal("worker", "--concurency", "3")).hint).toBe("did you mean --concurrency?");
  expect((await refusal("call")).hint).toBe("`lovage call --help` shows what there is");
  expect((await refusal()).message).toBe("no command given");
});

test("pools and options of Celery's that are not there say what to write instead", async () => {
  const { options } = await invocation("worker", "-D");
  expect(() => checkRefused(options)).toThrow(
    expect.objectContaining({ message: expect.stringContaining("--detach"), hint: expect.stringContaining("systemd") }),
  );
  expect(() => checkRefused({ detach: false, queues: ["a"] })).not.toThrow();
  expect((await refusal("worker", "-P", "prefrok")).message).toMatch(/one of async, gevent/);
});

test("a pool scales between two numbers, the greater one first", async () => {
  expect((await invocation("worker", "--autoscale=8,2")).options["autoscale"]).toEqual({ max: 8, min: 2 });
  expect((await invocation("worker", "--autoscale", "8")).options["autoscale"]).toEqual({ max: 8, min: 1 });
  for (const wrong of ["2,8", "0,0", "8,2,1", "many"])
    expect((await refusal("worker", "--autoscale", wrong)).message).toContain("--autoscale");
});

test("options of Celery's that do little here say so, one line each", async () => {
  const { options } = await invocation("worker", "-B", "-E", "-O", "fair", "--without-mingle", "--disable-prefetch");
  const remarks = acceptedRemarks(options);
  expect(remarks.map((line) => line.split(":")[0])).toEqual(["-B", "-E", "-O", "--without-mingle"]);
  expect(acceptedRemarks((await invocation("worker")).options)).toEqual([]);
});

test("help of every command can be shown, in both ways, and names its options", async () => {
  for (const { name, load } of COMMANDS) {
    const help = await parseArgv([name, "--help"], PLAIN, 80);
    expect(help).toEqual(await parseArgv(["help", name], PLAIN, 80));
    const text = help.kind === "answer" ? help.text : "";
    expect(text).toContain(`lovage ${name}`);
    const shown = Object.values((await load()).options).filter((option) => !option.hidden);
    for (const option of shown) expect(text).toContain(option.flags);
    expect(text).toContain("--app <module>");
    expect(text).not.toContain("--pidfile");
  }
});

test("the list of commands is complete", async () => {
  const help = await parseArgv(["--help"], PLAIN, 80);
  for (const { name, summary } of COMMANDS)
    expect(help).toMatchObject({ text: expect.stringMatching(new RegExp(`^  ${name} +${summary}$`, "m")) });
  expect(await parseArgv(["--version"], PLAIN, 80)).toMatchObject({
    kind: "answer",
    text: expect.stringMatching(/^lovage \d+\.\d+\.\d+\n$/),
  });
});

test("the app, the broker and the log are also taken from the environment and the options", () => {
  expect(readGlobalOptions({}, [], { LOVAGE_APP: "a", CELERY_APP: "b" }).app).toBe("a");
  expect(readGlobalOptions({}, [], { CELERY_APP: "b" }).app).toBe("b");
  expect(readGlobalOptions({ app: "c" }, [], { LOVAGE_APP: "a" }).app).toBe("c");
  const { settings } = readGlobalOptions({ broker: "redis://b", resultBackend: "redis://r" }, ["broker_url=redis://x"], {});
  expect(settings).toMatchObject({ broker_url: "redis://b", broker_read_url: "redis://b", result_backend: "redis://r" });
  expect(readGlobalOptions({}, [], { LOVAGE_DEBUG: "1" }).traceback).toBe(true);
});
