/**
 * No product but an upper bound: the same messages, loans and results in Redis as Lovage's, with one Lua script to take a batch and one
 * to settle it, and nothing else. No retries, limits, ETA, events, logs, leases, fences, errors, checks of what arrives, or shutdown.
 */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";

const batchSize = 256;
const underWay = 4;

const reserve = `
local taken = redis.call('RPOP', KEYS[1], ARGV[1])
if not taken then return {} end
local write = {}
for i, envelope in ipairs(taken) do write[2 * i - 1], write[2 * i] = ARGV[2] + i, envelope end
redis.call('HSET', KEYS[2], unpack(write))
return taken`;

const settle = `
local count = tonumber(ARGV[1])
for i = count + 2, #ARGV, 2 do
  redis.call('SETEX', 'celery-task-meta-' .. ARGV[i], 86400, ARGV[i + 1])
  redis.call('PUBLISH', 'celery-task-meta-' .. ARGV[i], ARGV[i + 1])
end
return redis.call('HDEL', KEYS[1], unpack(ARGV, 2, count + 1))`;

export async function openProducer(config) {
  const redis = new Redis(config.url);
  await redis.ping();
  const replyTo = randomUUID();
  let open = [];
  let flushed;
  /** All sends of one turn of the event loop are one LPUSH. */
  const send = (x, y) => {
    open.push(envelopeOf(x, y, replyTo));
    flushed ??= new Promise((resolve) => {
      setImmediate(() => {
        const batch = open;
        open = [];
        flushed = undefined;
        resolve(redis.lpush("celery", batch));
      });
    });
    return flushed;
  };
  return {
    send,
    sendMany: (count, x, y) =>
      redis.lpush(
        "celery",
        Array.from({ length: count }, () => envelopeOf(x, y, replyTo)),
      ),
    outstanding: async () => (await redis.llen("celery")) + (await redis.hlen("prototype:loans")),
    close: async () => redis.disconnect(),
  };
}

function envelopeOf(x, y, replyTo) {
  const id = randomUUID();
  const body = Buffer.from(`[[${x}, ${y}], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]`).toString("base64");
  return (
    `{"body": "${body}", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "js", "task": "bench.add", ` +
    `"id": "${id}", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, ` +
    `"timelimit": [null, null], "root_id": "${id}", "parent_id": null, "argsrepr": "(${x}, ${y})", "kwargsrepr": "{}", ` +
    `"origin": "gen1@host", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}, ` +
    `"properties": {"correlation_id": "${id}", "reply_to": "${replyTo}", "delivery_mode": 2, "delivery_info": {"exchange": "", ` +
    `"routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "${randomUUID()}"}}`
  );
}

export async function openWorker(config, tasks) {
  const redis = new Redis(config.url);
  redis.defineCommand("reserve", { numberOfKeys: 2, lua: reserve });
  redis.defineCommand("settle", { numberOfKeys: 1, lua: settle });
  await redis.ping();
  let nextLoan = 0;
  const closing = new AbortController();

  async function runOne(envelope) {
    const { headers, body } = JSON.parse(envelope);
    const [args] = JSON.parse(Buffer.from(body, "base64").toString());
    const value = await tasks.add(...args);
    if (!config.results) return undefined;
    const document = { status: "SUCCESS", result: value, traceback: null, children: [], date_done: new Date().toISOString() };
    return [headers.id, JSON.stringify({ ...document, task_id: headers.id })];
  }

  async function lane() {
    while (!closing.signal.aborted) {
      const first = nextLoan;
      nextLoan += batchSize;
      const envelopes = await redis.reserve("celery", "prototype:loans", batchSize, first);
      if (envelopes.length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 1)); // a product waits without polling
        continue;
      }
      const results = (await Promise.all(envelopes.map(runOne))).filter(Boolean);
      const loans = envelopes.map((_, index) => first + index + 1);
      await redis.settle("prototype:loans", loans.length, ...loans, ...results.flat());
    }
  }

  const lanes = Array.from({ length: underWay }, lane);
  return {
    async close() {
      closing.abort();
      await Promise.all(lanes);
      redis.disconnect();
    },
  };
}
