import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { reporting, send, shopOnSentinels } from "../connections.ts";

/** Longer than a call waits without a buffer. */
const OUTAGE_MS = 2500;

const servers: ChildProcess[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => (server.kill("SIGKILL"), once(server, "exit"))));
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function redis(port: number, ...args: readonly string[]): void {
  const own = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  servers.push(spawn("redis-server", [...own, ...args], { stdio: "ignore" }));
}

test("what a caller can know: sent, try later, and a queue that is full", async () => {
  const port = await freePort();
  const app = reporting(`redis://127.0.0.1:${port}/0`);
  app.configure({ publishBuffer: 0, publishTimeout: 0.5 });
  try {
    expect(await send(app, "A-1")).toBe("try later");
    redis(port, "--maxmemory-policy", "noeviction");
    await expect.poll(() => send(app, "A-2"), { timeout: 20_000 }).toBe("sent");
  } finally {
    await app.close();
  }
  const full = await freePort();
  redis(full, "--maxmemory", "1", "--maxmemory-policy", "noeviction");
  const onFull = reporting(`redis://127.0.0.1:${full}/0`);
  onFull.configure({ publishBuffer: 0 });
  try {
    await expect.poll(() => send(onFull, "A-3"), { timeout: 20_000 }).toBe("queue is full");
  } finally {
    await onFull.close();
  }
});

test("with a buffer the call waits for the broker", async () => {
  const port = await freePort();
  const app = reporting(`redis://127.0.0.1:${port}/0`);
  try {
    const sent = send(app, "A-1");
    expect(await Promise.race([sent, wait(OUTAGE_MS, "pending")])).toBe("pending");
    redis(port);
    expect(await sent).toBe("sent");
  } finally {
    await app.close();
  }
});

test("sentinels that are away are named, their password is not", async () => {
  const app = shopOnSentinels(["127.0.0.1:1", "127.0.0.1:2"], "s3cret");
  app.configure({ publishTimeout: 0.5 });
  try {
    const error: unknown = await app.sendTask("shop.ship", ["A-1"]).catch((thrown: unknown) => thrown);
    expect(String(error)).toContain("sentinel://");
    expect(String(error)).not.toContain("s3cret");
  } finally {
    await app.close();
  }
});
