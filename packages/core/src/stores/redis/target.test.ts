import { expect, test } from "vitest";

import { RedisConfigurationError } from "./errors.ts";
import { parseRedisTarget, sameTarget } from "./target.ts";

const master = { transportOptions: { master_name: "shop" } };

test("one URL is one server; several are tried in turn", () => {
  expect(parseRedisTarget({ url: "redis://a:1/2" })).toMatchObject({ db: 2, location: "redis://a:1/2", route: { kind: "servers" } });
  const { route, location } = parseRedisTarget({ url: "redis://:p@a:1/2; rediss://b/2 ;", failoverStrategy: "shuffle" });
  expect(location).toBe("redis://a:1/2;rediss://b:6379/2");
  expect(route).toMatchObject({
    order: "shuffle",
    servers: [
      { server: { host: "a", port: 1 }, password: "p", tls: undefined },
      { server: { host: "b", port: 6379 }, password: undefined, tls: {} },
    ],
  });
});

test("servers of one list hold one database", () => {
  expect(() => parseRedisTarget({ url: "redis://a/0;redis://b/1" })).toThrowError(/different databases \(0, 1\)/);
});

test("sentinels as Celery writes them: credentials and database of the first URL are the master's", () => {
  const url = "sentinel://user:secret@h1:5/3;sentinel://h2;sentinel://[::1]:7";
  const target = parseRedisTarget({ url, ...master });
  expect(target).toMatchObject({
    db: 3,
    location: "sentinel://h1:5;sentinel://h2:26379;sentinel://[::1]:7/3 (shop)",
    route: {
      masterName: "shop",
      minOtherSentinels: 0,
      askMs: 1000,
      master: { db: 3, username: "user", password: "secret", tls: undefined },
      sentinels: [
        { server: { host: "h1", port: 5 }, username: undefined, password: undefined, tls: undefined },
        { server: { host: "h2", port: 26_379 } },
        { server: { host: "::1", port: 7 } },
      ],
    },
  });
  expect(target.remark).toBeUndefined();
  expect(JSON.stringify(target.location)).not.toContain("secret");
});

test("sentinels have passwords, users and TLS of their own", () => {
  const sentinelKwargs = { password: "own", username: "watch", ssl: true, ssl_cert_reqs: "none", ssl_ca_certs: "/ca", socket_timeout: 0.2 };
  const options = { masterName: "shop", sentinelKwargs, minOtherSentinels: 1 };
  const { route } = parseRedisTarget({ url: "sentinel://h1", tls: { ca: "/data-ca" }, transportOptions: options });
  expect(route).toMatchObject({
    askMs: 200,
    minOtherSentinels: 1,
    master: { tls: { ca: "/data-ca" }, password: undefined },
    sentinels: [{ username: "watch", password: "own", tls: { ca: "/ca", rejectUnauthorized: false, checkHostname: true } }],
  });
});

test("a database that only a later sentinel URL names is not the one that Celery uses", () => {
  const { db, remark } = parseRedisTarget({ url: "sentinel://h1;sentinel://h2/5", ...master });
  expect(db).toBe(0);
  expect(remark).toMatch(/database 0 is used/);
});

test.each([
  ["sentinel://h1", {}, /needs the transport option master_name/],
  ["sentinel://h1;redis://h2", { master_name: "m" }, /only sentinels/],
  ["sentinel://h1", { master_name: "m", sentinel_kwargs: "secret" }, /sentinel_kwargs is/],
  ["sentinel://h1", { master_name: "m", sentinel_kwargs: { password: 12_345 } }, /sentinel_kwargs\.password is not accepted/],
])("%s with %j is refused", (url, transportOptions, reason) => {
  expect(() => parseRedisTarget({ url, transportOptions })).toThrowError(RedisConfigurationError);
  expect(() => parseRedisTarget({ url, transportOptions })).toThrowError(reason);
});

test("two targets are the same when a script on one can reach the other", () => {
  const of = (url: string, name = "shop") => parseRedisTarget({ url, transportOptions: { master_name: name } });
  expect(sameTarget(of("sentinel://a/0;sentinel://b"), of("sentinel://b/4;sentinel://a"))).toBe(true);
  expect(sameTarget(of("sentinel://a"), of("sentinel://a", "other"))).toBe(false);
  expect(sameTarget(of("sentinel://:x@a"), of("sentinel://:y@a"))).toBe(false);
  expect(sameTarget(of("redis://a;redis://b"), of("redis://a"))).toBe(false);
  expect(sameTarget(of("redis://a:26379"), of("sentinel://a"))).toBe(false);
});
