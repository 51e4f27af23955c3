import { expect, test } from "vitest";

import { type Random, systemRandom } from "../../shared/clock.ts";
import { silentLogger } from "../../shared/log.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { RedisConnection } from "./connection.ts";
import { RedisGaveUpError, RedisGoneError, RedisRefusedError } from "./errors.ts";
import { RedisLink } from "./link.ts";
import type { RedisSpec } from "./spec.ts";
import { RedisSupervisor } from "./supervisor.ts";
import { parseRedisTarget } from "./target.ts";

const limits = { connectTimeoutMs: 4000, socketTimeoutMs: 2500 };

/** A server that tests take down, and what its clients did to reach it. */
class PretendServer {
  readonly clock = new FakeClock();
  readonly tries: { readonly atMs: number; readonly location: string; readonly timeoutMs: number }[] = [];
  readonly away = new Set<string>();
  refusal: Error | undefined;
  readonly #open = new Set<AbortController>();

  readonly connect: typeof RedisConnection.open = async (address, _spec, { connectTimeoutMs }) => {
    this.tries.push({ atMs: this.clock.monotonic(), location: address.location, timeoutMs: connectTimeoutMs });
    if (this.away.has(address.location)) throw new RedisGoneError("refused", { sent: false });
    if (this.refusal) throw this.refusal;
    const closing = new AbortController();
    this.#open.add(closing);
    const connection = {
      closed: closing.signal,
      get isOpen() {
        return !closing.signal.aborted;
      },
      destroy: () => closing.abort(new RedisGoneError("closed", { sent: true })),
    };
    return connection as unknown as RedisConnection; // all that links and supervisors use of one
  };

  supervisor(spec: RedisSpec = { url: "redis://a" }, random: Random = systemRandom): RedisSupervisor {
    return new RedisSupervisor(parseRedisTarget(spec), spec, { clock: this.clock, random, logger: silentLogger }, this.connect);
  }

  link(supervisor: RedisSupervisor, options: Partial<ConstructorParameters<typeof RedisLink>[3]> = {}, random = systemRandom): RedisLink {
    return new RedisLink(supervisor, limits, { clock: this.clock, random, logger: silentLogger }, { purpose: "test", ...options });
  }

  breakAll(): void {
    for (const closing of this.#open) closing.abort(new RedisGoneError("killed", { sent: true }));
    this.#open.clear();
  }
}

const HOME = "redis://a:6379/0";

test("while the server is away one connection tries for all, and when it is back all are open", async () => {
  const server = new PretendServer();
  server.away.add(HOME);
  const supervisor = server.supervisor();
  const opened = Array.from({ length: 8 }, () => server.link(supervisor).connection());
  await server.clock.advance(0);
  const together = server.tries.length;
  expect(together).toBe(8); // nobody knew
  await server.clock.advance(20_000);
  expect(server.tries.length - together).toBeGreaterThan(8);
  expect(server.tries.length - together).toBeLessThan(60); // every second on average, not eight times that
  server.away.clear();
  await server.clock.advance(2000);
  await Promise.all(opened);
  expect(supervisor.lastFailure).toBeUndefined();
});

test("pauses double up to 2 s, and each is a random part of that", async () => {
  const server = new PretendServer();
  server.away.add(HOME);
  server
    .link(server.supervisor({ url: "redis://a", retryFirstMs: 500 }, () => 0.999))
    .connection()
    .catch(() => undefined);
  await server.clock.advance(12_000);
  const pauses = server.tries.slice(1).map(({ atMs }, i) => Math.round(atMs - (server.tries[i]?.atMs ?? 0)));
  expect(pauses).toEqual([500, 999, 1998, 1998, 1998, 1998, 1998]);
});

test("a try of a publisher comes several times before its deadline", async () => {
  const server = new PretendServer();
  server.away.add(HOME);
  server
    .link(server.supervisor({ url: "redis://a", publishTimeoutMs: 2000 }, () => 0.999))
    .connection()
    .catch(() => undefined);
  await server.clock.advance(2000);
  expect(server.tries.length).toBeGreaterThanOrEqual(5);
});

test("who asked for so many tries at most is told; others go on", async () => {
  const server = new PretendServer();
  server.away.add(HOME);
  const supervisor = server.supervisor({ url: "redis://a", retryFirstMs: 10 });
  const patient = server.link(supervisor).connection();
  const impatient = server.link(supervisor, { triesMax: 3 }).connection();
  impatient.catch(() => undefined);
  await server.clock.advance(60_000);
  await expect(impatient).rejects.toThrowError(RedisGaveUpError);
  server.away.clear();
  await server.clock.advance(2000);
  expect((await patient).isOpen).toBe(true);
});

test("a server that refuses us before it ever let us in is an error at once; later it is waited for", async () => {
  const server = new PretendServer();
  server.refusal = new RedisRefusedError("wrong password");
  const link = server.link(server.supervisor());
  await expect(link.connection()).rejects.toThrowError("wrong password");
  server.refusal = undefined;
  const again = link.connection();
  await server.clock.advance(2000);
  await again;
  server.refusal = new RedisRefusedError("wrong password");
  server.breakAll();
  const later = link.connection();
  await server.clock.advance(10_000);
  server.refusal = undefined;
  await server.clock.advance(2000);
  expect((await later).isOpen).toBe(true);
});

test("a list of servers: all connections go on to the next together", async () => {
  const server = new PretendServer();
  const supervisor = server.supervisor({ url: "redis://a;redis://b" });
  const links = Array.from({ length: 4 }, () => server.link(supervisor));
  await Promise.all(links.map((link) => link.connection()));
  server.away.add(HOME);
  server.breakAll();
  const opened = links.map((link) => link.connection());
  await server.clock.advance(3000);
  await Promise.all(opened);
  const last = server.tries.slice(-4).map(({ location }) => location);
  expect(new Set(last)).toEqual(new Set(["redis://b:6379/0"]));
});

test("a connection that breaks as soon as it is open is not made anew without a pause", async () => {
  const server = new PretendServer();
  const onOpen = async (): Promise<void> => {
    throw new RedisGoneError("broke while it was prepared", { sent: true });
  };
  server
    .link(server.supervisor(), { onOpen })
    .connection()
    .catch(() => undefined);
  await server.clock.advance(20_000);
  expect(server.tries.length).toBeLessThan(60);
});

test("a server that greeted fast once is not given the whole time for a greeting in an outage", async () => {
  const server = new PretendServer();
  const link = server.link(server.supervisor());
  await link.connection();
  server.away.add(HOME);
  server.breakAll();
  link.connection().catch(() => undefined);
  await server.clock.advance(5000);
  expect(server.tries[0]?.timeoutMs).toBe(4000);
  expect(server.tries.at(-1)?.timeoutMs).toBe(2000);
});

test("500 clients of a server that comes back do not arrive as one wave", async () => {
  const server = new PretendServer();
  const links = Array.from({ length: 500 }, () => server.link(server.supervisor()));
  await Promise.all(links.map((link) => link.connection()));
  server.away.add(HOME);
  server.breakAll();
  const opened = links.map((link) => link.connection());
  await server.clock.advance(10_000);
  server.away.clear();
  const backAt = server.clock.monotonic();
  await server.clock.advance(2100);
  await Promise.all(opened);
  const perBucket = Array.from({ length: 20 }, () => 0);
  for (const { atMs } of server.tries) if (atMs >= backAt) perBucket[Math.min(19, Math.floor((atMs - backAt) / 100))]! += 1;
  expect(perBucket.reduce((sum, count) => sum + count)).toBe(500);
  expect(Math.max(...perBucket)).toBeLessThan(3 * (500 / 20)); // no 100 ms has three times the mean
});

test("500 clients whose connections are closed by a server that stays do not come back in one instant", async () => {
  const server = new PretendServer();
  const links = Array.from({ length: 500 }, () => server.link(server.supervisor()));
  await Promise.all(links.map((link) => link.connection()));
  server.tries.length = 0;
  await server.clock.advance(5000);
  server.breakAll();
  const opened = links.map((link) => link.connection());
  await server.clock.advance(100);
  await Promise.all(opened);
  const at = server.tries.map(({ atMs }) => Math.floor(atMs / 10));
  expect(Math.max(...at.map((bucket) => at.filter((other) => other === bucket).length))).toBeLessThan(150); // of 50 a bucket
});
