import { describe, expect, test } from "vitest";

import { parseRedisAddress } from "./address.ts";
import { parseRedisTarget, sameTarget } from "./target.ts";
import { RedisConfigurationError } from "./errors.ts";

const parse = (url: string, more: object = {}) => parseRedisAddress({ url, ...more });

describe("TCP", () => {
  test.each([
    ["redis://", "127.0.0.1", 6379, 0],
    ["redis:", "127.0.0.1", 6379, 0],
    ["redis:///", "127.0.0.1", 6379, 0],
    ["redis://localhost", "localhost", 6379, 0],
    ["redis://localhost/", "localhost", 6379, 0],
    ["redis://localhost:6380/2", "localhost", 6380, 2],
    ["redis://:6381", "127.0.0.1", 6381, 0],
    ["redis:///5", "127.0.0.1", 6379, 5],
    ["REDIS://host:1/3", "host", 1, 3],
    ["redis://[::1]:6380/1", "::1", 6380, 1],
    ["redis://host?virtual_host=7", "host", 6379, 7],
  ])("%s", (url, host, port, db) => {
    expect(parse(url)).toMatchObject({ server: { host, port }, db, tls: undefined });
  });

  test.each([
    ["redis://:secret@host", undefined, "secret"],
    ["redis://user:secret@host", "user", "secret"],
    ["redis://user@host", "user", undefined],
    ["redis://us%40er:p%3Aa%2Fs%25s@host", "us@er", "p:a/s%s"],
    ["redis://:p@ss:w#rd?@host".replace("?", ""), undefined, "p@ss:w#rd"],
    ["redis://host?password=secret&username=user", "user", "secret"],
  ])("credentials of %s", (url, username, password) => {
    expect(parse(url)).toMatchObject({ username, password, server: { host: "host", port: 6379 } });
  });

  test("credentials given apart are used where the URL has none", () => {
    expect(parse("redis://host", { username: "u", password: "p" })).toMatchObject({ username: "u", password: "p" });
    expect(parse("redis://a:b@host", { username: "u", password: "p" })).toMatchObject({ username: "a", password: "b" });
  });

  test("the location shows no credentials", () => {
    expect(parse("redis://user:secret@host:1/2").location).toBe("redis://host:1/2");
    expect(parse("rediss://:secret@[::1]").location).toBe("rediss://[::1]:6379/0");
    expect(parse("redis+socket://:secret@/tmp/x.sock?virtual_host=3").location).toBe("redis+socket:///tmp/x.sock?virtual_host=3");
  });
});

describe("TLS", () => {
  test("rediss:// checks certificates unless told not to", () => {
    expect(parse("rediss://host").tls).toEqual({});
    expect(parse("rediss://host?ssl_cert_reqs=required").tls).toEqual({ rejectUnauthorized: true });
    expect(parse("rediss://host?ssl_cert_reqs=CERT_NONE").tls).toEqual({ rejectUnauthorized: false });
    expect(parse("rediss://host?ssl_cert_reqs=none&ssl_check_hostname=false").tls).toEqual({
      rejectUnauthorized: false,
      checkHostname: false,
    });
  });

  test("files come from the query, settings win", () => {
    const url = "rediss://host?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem";
    expect(parse(url).tls).toEqual({ ca: "/ca.pem", cert: "/c.pem", key: "/k.pem" });
    expect(parse(url, { tls: { ca: "/other.pem" } }).tls).toMatchObject({ ca: "/other.pem", cert: "/c.pem" });
    expect(parse("redis://host", { tls: { servername: "x" } }).tls).toEqual({ servername: "x" });
    expect(parse("redis://host", { tls: null }).tls).toBeUndefined();
  });
});

describe("Unix sockets", () => {
  test.each([
    ["redis+socket:///tmp/redis.sock", "/tmp/redis.sock", 0, undefined],
    ["redis+socket:///tmp/redis.sock?virtual_host=4", "/tmp/redis.sock", 4, undefined],
    ["redis+socket://:pa%20ss@/tmp/redis.sock?virtual_host=/2", "/tmp/redis.sock", 2, "pa ss"],
    ["socket:///tmp/redis.sock?virtual_host=1", "/tmp/redis.sock", 1, undefined],
  ])("%s", (url, path, db, password) => {
    expect(parse(url)).toMatchObject({ server: { path }, db, password });
  });

  test("the database may be a transport option", () => {
    expect(parse("redis+socket:///s", { transportOptions: { virtual_host: "6" } }).db).toBe(6);
    expect(parse("redis+socket:///s", { transportOptions: { virtualHost: 7 } }).db).toBe(7);
  });
});

test.each([
  ["http://host", /begins with redis:/],
  ["redis://host/zero", /"zero".*whole number/],
  ["redis://host:70000", /70000/],
  ["redis://:%zz@host", /password.*%25/],
  ["redis+socket://", /names no socket/],
])("%s is refused with a reason that shows no secret", (url, reason) => {
  expect(() => parse(url)).toThrowError(RedisConfigurationError);
  expect(() => parse(url)).toThrowError(reason);
});

test("one server in two databases is one server; another user or port is not", () => {
  const target = (url: string) => parseRedisTarget({ url });
  const home = target("redis://:p@host:1/0");
  expect(sameTarget(home, target("redis://default:p@host:1/5"))).toBe(true);
  expect(sameTarget(home, target("redis://other:p@host:1/0"))).toBe(false);
  expect(sameTarget(home, target("redis://:p@host:2/0"))).toBe(false);
});
