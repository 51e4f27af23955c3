import { afterAll, beforeAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://canvas-example";
process.env.CELERY_RESULT_BACKEND = "memory://canvas-example";
const { chain, chord } = await import("lovage");
const { app } = await import("../tasks.ts");
const { addTax, best, bestOffer, cheapest, fetchPrice, fetchWithBranch, inChunks, one, several, stampedOffers, tree } =
  await import("../canvas.ts");

const worker = new Worker(app, { concurrency: 10 });
beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("every shape gives its result", async () => {
  expect(await (await chain(bestOffer.s(["corner", "mall"]), addTax.s(20)).delay()).get({ timeout: "10s" })).toBe(48);
  const shops = ["corner", "mall"].map((shop) => fetchWithBranch.s(shop));
  expect(await (await chord(shops, cheapest.s()).delay()).get({ timeout: "10s" })).toBe(40);
  expect([await one(), await several(), await best(), await inChunks()]).toEqual([72, [60, 60], 48, [[60, 60], [40]]]);
});

test("the tree of a workflow", async () => {
  expect(await tree()).toMatch(/^digraph workflow \{\n[\s\S]* -> /);
});

test("stamps stand on every task", () => {
  const { header, body } = stampedOffers().kwargs as Record<string, { options: object; kwargs: { tasks: { options: object }[] } }>;
  expect(header?.kwargs.tasks.map(({ options }) => options)).toEqual([
    { stamped_headers: ["tenant"], tenant: "acme" },
    { stamped_headers: ["tenant"], tenant: "acme" },
  ]);
  expect(body?.options).toEqual({ stamped_headers: expect.arrayContaining(["tenant", "step"]), tenant: "acme", step: "last" });
});

// #region eager
test("the cheapest offer, with tax", async () => {
  const offers = chord([fetchPrice.s("corner"), fetchPrice.s("mall")], cheapest.s());
  const result = await chain(offers, addTax.s(20)).apply(); // here and now: no broker, no worker
  expect(await result.get()).toBe(48);
});
// #endregion
