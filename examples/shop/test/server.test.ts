import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

let folder: string;
let close: () => Promise<void>;

/** The web process's server on a broker of its own; no worker is there. */
async function open(brokerUrl = "memory://"): Promise<FastifyInstance> {
  vi.stubEnv("CELERY_BROKER_URL", brokerUrl);
  vi.stubEnv("SHOP_DATA", folder);
  vi.resetModules();
  const { shopServer } = await import("../src/server.ts");
  const { app } = await import("../src/app.ts");
  const server = await shopServer();
  close = async () => {
    await server.close();
    await app.close();
  };
  return server;
}

beforeEach(async () => {
  vi.unstubAllEnvs();
  folder = await mkdtemp(join(tmpdir(), "lovage-shop-"));
});

afterEach(async () => {
  await close();
  await rm(folder, { recursive: true, force: true });
});

const ORDER = { customer: "Ada", product: "tea", quantity: 2 };
const stored = async (kind: string) => (await readdir(join(folder, kind)).catch(() => [])).filter((name) => name.endsWith(".json"));

test("an order is stored and answered before it is paid", async () => {
  const server = await open();
  const answer = await server.inject({ method: "POST", url: "/api/orders", payload: ORDER });
  expect(answer.statusCode).toBe(202);
  expect(answer.json()).toMatchObject({ customer: "Ada", product: "Herbal tea, 100 g", cents: 1790, payment: { status: "due" } });
  expect(await stored("orders")).toEqual([`${answer.json().id}.json`]);
});

test.each([
  ["without a name", { ...ORDER, customer: " " }],
  ["for nothing", { ...ORDER, quantity: 0 }],
  ["for too many", { ...ORDER, quantity: 100 }],
  ["for half of one", { ...ORDER, quantity: 0.5 }],
  ["for something unknown", { ...ORDER, product: "gold" }],
])("an order %s is refused", async (_, payload) => {
  const server = await open();
  const answer = await server.inject({ method: "POST", url: "/api/orders", payload });
  expect(answer.statusCode).toBe(400);
  expect(await stored("orders")).toEqual([]);
});

test("what the broker did not accept is not kept", async () => {
  const server = await open("redis://127.0.0.1:1/0"); // nobody listens there
  vi.spyOn(console, "error").mockReturnValue();
  const [order, upload] = await Promise.all([
    server.inject({ method: "POST", url: "/api/orders", payload: ORDER }),
    server.inject({ method: "POST", url: "/api/uploads?name=a.csv", headers: { "content-type": "text/csv" }, payload: "date,amount\n" }),
  ]);
  expect([order.statusCode, upload.statusCode]).toEqual([503, 503]);
  expect(order.json().message).toMatch(/try again/);
  expect([await stored("orders"), await stored("uploads")]).toEqual([[], []]);
});

test("a file that is too large, or no CSV, is refused", async () => {
  const server = await open();
  const send = (type: string, payload: Buffer) =>
    server.inject({ method: "POST", url: "/api/uploads?name=a.csv", headers: { "content-type": type }, payload });
  expect((await send("text/csv", Buffer.alloc(20 * 1024 * 1024 + 1, "1"))).statusCode).toBe(413);
  expect((await send("application/zip", Buffer.from("PK"))).statusCode).toBe(415);
  expect(await stored("uploads")).toEqual([]);
});

test.each(["/api/reports/..%2F..%2Fpackage", "/api/reports/%2Fetc%2Fpasswd/chart.svg", "/..%2Fpackage.json", "/package.json"])(
  "%s gives nothing away",
  async (url) => {
    const server = await open();
    expect([400, 404]).toContain((await server.inject(url)).statusCode);
  },
);

test("the page may load nothing from elsewhere, and charts may run nothing", async () => {
  const server = await open();
  const page = await server.inject("/");
  expect(page.headers["content-security-policy"]).toMatch(/^default-src 'self'/);
  expect(page.headers["x-content-type-options"]).toBe("nosniff");
});
