/** The part about encryption: what a broker sees, what the task gets, and what Python makes of it. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { contentTypesFor, readTaskMessage } from "lovage/protocol";
import { Worker } from "lovage/worker";
import { python, pythonHas } from "../../../packages/core/test/support/python.ts";

const key = Buffer.alloc(32, 7).toString("base64");
process.env.CELERY_BROKER_URL = "memory://encrypted-example";
process.env.CELERY_RESULT_BACKEND = "memory://encrypted-example";
process.env.CELERY_ENCRYPTION_KEYS = JSON.stringify({ "2026-11": key });
const { app, pay, payInPython } = await import("../encrypted.ts");
afterAll(() => app.close());

test("the task gets what nobody else sees", async () => {
  const sent = await pay.delay({ id: "A-1", card: { number: "4111-1111-1111-1234" } });
  await using worker = new Worker(app);
  await worker.start();
  expect(await sent.get({ timeout: "20s" })).toBe("paid with 1234");
});

const program = `
import json, sys
from encrypted import seal, unseal
keys = json.loads(sys.argv[1])
(args, kwargs, embed) = json.loads(sys.argv[2])
print(json.dumps([unseal(args, "billing.pay", keys), seal({"number": "4111-5678"}["number"], "shop.pay", "2026-11", keys)]))
`;

test.skipIf(!pythonHas("cryptography"))("Python reads it with the key, and writes what the task reads", async () => {
  await payInPython.delay({ card: "4111-1111-1111-1234" });
  const broker = await app.broker();
  const end = new AbortController();
  let body = "";
  for await (const [delivery] of broker.consume(["python"], {
    worker: "test",
    credit: { free: () => 1, whenFree: async () => {} },
    signal: end.signal,
  })) {
    const { message, info } = delivery?.open() ?? {};
    if (message && info) {
      expect(readTaskMessage(message, info, { accept: contentTypesFor(["json"]) }).argsrepr).toBe("({'card': <encrypted>},)");
      body = Buffer.from(message.body).toString();
    }
    end.abort();
  }
  expect(body).not.toContain("4111");
  const cwd = fileURLToPath(new URL("../../celery", import.meta.url));
  const said = execFileSync(python as string, ["-B", "-c", program, JSON.stringify({ "2026-11": key }), body], { cwd, encoding: "utf8" });
  const [opened, sealed] = JSON.parse(said) as [unknown, string];
  expect(opened).toEqual([{ card: "4111-1111-1111-1234" }]);

  await using worker = new Worker(app);
  await worker.start();
  const sent = await app.sendTask<string>("shop.pay", [{ id: "B-1", card: { number: sealed } }]);
  expect(await sent.get({ timeout: "20s" })).toBe("paid with 5678");
});
