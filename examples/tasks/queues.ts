import { Lovage } from "lovage";
import { Worker } from "lovage/worker";

export const app = new Lovage("shop", { taskQueues: ["critical", "default", "low", "mail", "pdf"] });

export const send = app.task({ name: "shop.mail", queue: "mail", run: (_, to: string) => `sent to ${to}` });
export const render = app.task({ name: "shop.render", queue: "pdf", run: (_, order: string) => `${order}.pdf` });

// #region pause
/** The mail provider is down: what comes for this queue stays in it, and workers go on with the others. */
export async function providerIsDown(): Promise<void> {
  await app.queues.pause("mail", { reason: "the mail provider is down", by: "on-call", for: "2h" });
}

export async function providerIsBack(): Promise<void> {
  await app.queues.resume("mail");
}

export async function whatIsPaused(): Promise<string[]> {
  const pauses = await app.queues.paused();
  return pauses.map(({ queue, by, reason, at }) => `${queue}: ${by}, since ${new Date(at).toISOString()}: ${reason}`);
}
// #endregion

// #region capsules
export function makeWorker(): Worker {
  return new Worker(app, {
    concurrency: 50,
    queueOrder: { critical: 6, default: 3, low: 1 },
    capsules: {
      mail: { queues: "mail", concurrency: 10 },
      pdf: { queues: ["pdf"], concurrency: 2 }, // each takes a gigabyte
    },
  });
}
// #endregion

// #region priority
/** Before the others of its queue: 0 is served first, 9 last, and most messages have none, which is 0. */
export const renderSomeTime = (order: string) => render.applyAsync([order], undefined, { priority: 9 });
// #endregion
