import { expect, test } from "vitest";
import { MASK, maskSetting, maskUrl, show } from "./secrets.ts";

test.each([
  ["redis://:pw@host:6379/0", `redis://:${MASK}@host:6379/0`],
  ["redis://user:p%40ss@host/1", `redis://user:${MASK}@host/1`],
  ["rediss://u:a@h1/0;rediss://u:b@h2/0", `rediss://u:${MASK}@h1/0;rediss://u:${MASK}@h2/0`],
  ["redis+socket://:pw@/run/redis.sock?virtual_host=1", `redis+socket://:${MASK}@/run/redis.sock?virtual_host=1`],
  ["redis://host/0?password=pw&x=1", `redis://host/0?password=${MASK}&x=1`],
  ["redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"],
  ["amqp://guest:p:w@h//", `amqp://guest:${MASK}@h//`],
])("%s is shown as %s", (url, shown) => {
  expect(maskUrl(url)).toBe(shown);
});

test("what looks secret by its name is masked at any depth", () => {
  const shown = show({ host: "h", sentinelKwargs: { password: "pw" }, api_token: "t", list: [{ secretKey: "k" }] });
  expect(JSON.parse(shown)).toEqual({ host: "h", sentinelKwargs: { password: MASK }, api_token: MASK, list: [{ secretKey: MASK }] });
});

test("settings that merely contain such a word are shown", () => {
  expect(maskSetting("taskDefaultRoutingKey", "orders")).toBe('"orders"');
  expect(maskSetting("redisSocketKeepalive", true)).toBe("true");
  expect(maskSetting("redisPassword", "pw")).toBe(MASK);
  expect(maskSetting("redisPassword", null)).toBe("null");
});
