/** How the Redis driver gets in: URLs, users, TLS, sockets; and how it says that it cannot. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";
import { expect, test } from "vitest";

import { BrokerRefusedError, PublishError } from "../../../src/brokers/errors.ts";
import { BackendRefusedError } from "../../../src/results/errors.ts";
import { systemClock } from "../../../src/shared/clock.ts";
import { parseRedisAddress } from "../../../src/stores/redis/address.ts";
import { RedisConnection } from "../../../src/stores/redis/connection.ts";
import { RedisConfigurationError } from "../../../src/stores/redis/errors.ts";
import { settleAll, Slots, take, toQueue } from "../../support/broker-hands.ts";
import { openBackend, openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

/** One message there and back, and one result. */
async function works(url: string, spec: Parameters<typeof openBroker>[1] = {}): Promise<void> {
  await using broker = await openBroker(url, spec);
  await using backend = await openBackend(url, spec);
  await broker.publish([toQueue("q", { id: "a" })]);
  expect(await settleAll(broker, await take(broker, ["q"], 1))).toEqual(["settled"]);
  await backend.store([{ taskId: "a", state: "SUCCESS", document: '{"status": "SUCCESS"}', expiresMs: undefined }]);
  expect(await backend.fetch(["a"])).toEqual(['{"status": "SUCCESS"}']);
}

test("a password, also one full of punctuation", async () => {
  const password = "p@:/?#%ss wörd";
  await using server = await RedisServer.start({ password });
  await works(server.url);
  await works(`redis://127.0.0.1:${server.port}`, { password });
});

test("a user who may use the keys of one prefix only", async () => {
  await using server = await RedisServer.start();
  const admin = new Redis(server.url);
  await admin.call("ACL", [
    "SETUSER",
    "worker",
    "on",
    ">secret",
    "~shop:*",
    "&shop:*",
    "+@all",
    "-@dangerous",
    "+info",
    "+client|id",
    "+client|unblock",
  ]);
  const url = `redis://worker:secret@127.0.0.1:${server.port}/0`;
  await using broker = await openBroker(url, { transportOptions: { global_keyprefix: "shop:" } });
  await broker.publish([toQueue("q", { id: "a" })]);
  await broker.leases?.renew("one", 10_000);
  expect(await settleAll(broker, await take(broker, ["q"], 1))).toEqual(["settled"]);
  expect((await admin.keys("*")).every((key) => key.startsWith("shop:"))).toBe(true);
  admin.disconnect();
});

test("a wrong password is refused at once, and named, but not shown", async () => {
  await using server = await RedisServer.start({ password: "right" });
  const url = server.url.replace("right", "wrong-one");
  await using broker = await openBroker(url);
  const error: unknown = await broker.publish([toQueue("q", { id: "a" })]).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PublishError);
  expect((error as PublishError).fates).toEqual(["refused"]);
  expect((error as PublishError).cause).toBeInstanceOf(BrokerRefusedError);
  expect((error as PublishError).transient).toBe(false);
  await expect(broker.depth(["q"])).rejects.toThrowError(BrokerRefusedError);
  await expect(take(broker, ["q"], 1)).rejects.toThrowError(BrokerRefusedError);
  await using backend = await openBackend(url);
  const refusal: unknown = await backend.watch("a", () => undefined).catch((thrown: unknown) => thrown);
  expect(refusal).toBeInstanceOf(BackendRefusedError);
  for (const each of [error, refusal]) expect(JSON.stringify([String(each), (each as Error).stack])).not.toContain("wrong-one");
});

test("a database that does not exist is refused, not replaced by another", async () => {
  await using server = await RedisServer.start({ args: ["--databases", "2"] });
  await using broker = await openBroker(server.url.replace("/0", "/9"));
  await expect(broker.publish([toQueue("q", { id: "a" })])).rejects.toThrowError(/DB index is out of range/);
});

test("a Unix socket, with the database as virtual_host", async () => {
  await using server = await RedisServer.start({ unixSocket: true });
  await works(`redis+socket://${server.socketPath}?virtual_host=2`);
  const hand = new Redis(server.url.replace("/0", "/2"));
  expect(await hand.exists("celery-task-meta-a")).toBe(1);
  hand.disconnect();
});

test("TLS checks the certificate and the host's name, unless told not to", async () => {
  const dir = await mkdtemp(join(tmpdir(), "lovage-tls-"));
  try {
    const cert = join(dir, "cert.pem");
    const key = join(dir, "key.pem");
    const subject = ["-subj", "/CN=elsewhere", "-addext", "subjectAltName=DNS:elsewhere"];
    execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert, ...subject], {
      stdio: "ignore",
    });
    await using server = await RedisServer.start({ tls: { cert, key, ca: cert } });
    await works(`${server.url}?ssl_cert_reqs=none`);
    await works(`${server.url}?ssl_ca_certs=${cert}&ssl_check_hostname=false`);
    await works(server.url, { tls: { ca: cert, servername: "elsewhere" } });
    for (const url of [server.url, `${server.url}?ssl_ca_certs=${cert}`]) {
      await using broker = await openBroker(url, { publishTimeoutMs: 300 });
      await expect(broker.publish([toQueue("q", { id: "a" })])).rejects.toThrowError(/cannot reach the broker/);
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test.each([
  ["6.0.16", /6\.0\.16.*6\.2 or newer/],
  ["5.0.3", /5\.0\.3/],
])("Redis %s is refused by name", async (version, reason) => {
  await using old = await pretendRedis(version);
  await using broker = await openBroker(`redis://127.0.0.1:${old.port}`);
  const error: unknown = await broker.depth(["q"]).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(BrokerRefusedError);
  expect(String(error)).toMatch(reason);
});

test("a server that nobody answers for: publish gives up at its deadline and says so", async () => {
  await using server = await RedisServer.start();
  const url = server.url;
  await server.halt();
  await using broker = await openBroker(url, { publishTimeoutMs: 200 });
  const error: unknown = await broker.publish([toQueue("q", { id: "a" })]).catch((thrown: unknown) => thrown);
  expect((error as PublishError).fates).toEqual(["refused"]);
  expect(String(error)).toMatch(/cannot reach the broker at redis:\/\/127\.0\.0\.1/);
});

test("opening a broker connects to nothing", async () => {
  await using server = await RedisServer.start();
  await using _broker = await openBroker(server.url);
  const hand = new Redis(server.url);
  const clients = String(await hand.client("LIST"));
  expect(clients.trim().split("\n")).toHaveLength(1);
  hand.disconnect();
});

test("the number of connections is as documented", async () => {
  await using server = await RedisServer.start();
  await using broker = await openBroker(server.url, { clientName: "counted" });
  const hand = new Redis(server.url);
  const count = async (): Promise<number> => (String(await hand.client("LIST")).match(/name=counted/g) ?? []).length;
  await broker.publish([toQueue("other", { id: "a" })]);
  expect(await count()).toBe(1);
  await broker.depth(["q"]);
  expect(await count()).toBe(2);
  const stop = new AbortController();
  const waiting = (async () => {
    for await (const _ of broker.consume(["q"], { worker: "one", credit: new Slots(1), signal: stop.signal }));
  })();
  await expect.poll(count).toBe(2 + 4);
  stop.abort();
  await waiting;
  await expect.poll(count).toBe(2);
  hand.disconnect();
});

test("a wrong option is told when the broker is opened", async () => {
  await expect(openBroker("redis://", { transportOptions: { visibility_timeout: "1h" } })).rejects.toThrowError(RedisConfigurationError);
});

/** Answers as a Redis without HELLO that tells this version. */
async function pretendRedis(version: string): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("data", (data) => {
      const text = data.toString().toUpperCase();
      if (text.includes("HELLO")) socket.write("-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n");
      if (text.includes("CLIENT")) socket.write(":7\r\n");
      if (text.includes("INFO")) {
        const info = `# Server\r\nredis_version:${version}\r\nrun_id:x\r\nloading:0\r\n`;
        socket.write(`$${info.length}\r\n${info}\r\n`);
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("a publish that waits for a server that is away ends when its broker is closed", async () => {
  const broker = await openBroker("redis://127.0.0.1:1");
  const toNamed = broker.publish([{ ...toQueue("q", { id: "a" }), exchange: "named" }]).catch((error: unknown) => error);
  const direct = broker.publish([toQueue("q", { id: "b" })]).catch((error: unknown) => error);
  await new Promise(setImmediate);
  await broker[Symbol.asyncDispose]();
  for (const error of [await toNamed, await direct]) {
    expect(error).toBeInstanceOf(PublishError);
    expect((error as PublishError).fates).toEqual(["refused"]);
  }
});

test("a program that is busy while it connects is let in as soon as it has time", async () => {
  await using server = await RedisServer.start();
  const limits = { connectTimeoutMs: 200, socketTimeoutMs: 1000 };
  const opening = RedisConnection.open(parseRedisAddress({ url: server.url }), {}, limits, systemClock, 3);
  await new Promise(setImmediate);
  for (const from = performance.now(); performance.now() - from < 500;);
  const connection = await opening;
  expect(String(await connection.command("PING", []))).toBe("PONG");
  connection.destroy();
});

test("a machine that does not answer at all costs the time to connect, and no more", async () => {
  const server =
    "require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log(this.address().port) })";
  const deaf = spawn(process.execPath, ["-e", server], { stdio: ["ignore", "pipe", "inherit"] });
  const [port] = (await once(deaf.stdout, "data")) as [Buffer];
  deaf.kill("SIGSTOP");
  const filling = Array.from({ length: 6 }, () => connect(Number(port), "127.0.0.1").on("error", () => undefined)); // more than it keeps waiting: what comes then gets no answer
  try {
    await once(filling[0] as Socket, "connect");
    const from = performance.now();
    const limits = { connectTimeoutMs: 200, socketTimeoutMs: 1000 };
    const opening = RedisConnection.open(parseRedisAddress({ url: `redis://127.0.0.1:${Number(port)}` }), {}, limits, systemClock, 3);
    await expect(opening).rejects.toThrow(`cannot connect to redis://127.0.0.1:${Number(port)}/0`);
    expect(performance.now() - from).toBeLessThan(1500);
  } finally {
    for (const socket of filling) socket.destroy();
    deaf.kill("SIGKILL");
  }
});
