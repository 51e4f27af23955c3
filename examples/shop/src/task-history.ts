/** The tasks behind orders and uploads, and the board as it was before the web process was started again. */
import { type Order, orders, type Upload, uploads } from "./store.ts";
import type { NewTask, Progress, TaskBoard } from "./task-board.ts";

export function paymentTask(order: Order): NewTask {
  return {
    id: order.id,
    kind: "payment",
    title: `Payment of ${(order.cents / 100).toFixed(2)} by ${order.customer}`,
    sentAt: order.placedAt,
  };
}

export function reportTask(upload: Upload): NewTask {
  return { id: upload.id, kind: "report", title: `Report on ${upload.name}`, sentAt: upload.uploadedAt };
}

/** Follows what has not ended. What has is told from the store: results are kept for a day, orders for good. */
export async function showEarlierTasks(board: TaskBoard, limit: number): Promise<void> {
  const payments = (await orders.latest(limit)).map((order) => ({ task: paymentTask(order), outcome: paymentOutcome(order) }));
  const reports = (await uploads.latest(limit)).map((upload) => ({ task: reportTask(upload), outcome: reportOutcome(upload) }));
  const oldestFirst = [...payments, ...reports].toSorted((a, b) => (a.task.sentAt < b.task.sentAt ? -1 : 1));
  for (const { task, outcome } of oldestFirst) {
    if (outcome) board.show({ ...task, ...outcome });
    else void board.follow(task);
  }
}

const done = (attempts: number): Progress => ({ state: "done", attempts, percent: 100, worker: null, problem: null });
const failed = (problem: string): Progress => ({ state: "failed", attempts: 1, percent: null, worker: null, problem });

function paymentOutcome({ payment }: Order): Progress | undefined {
  switch (payment.status) {
    case "due":
      return undefined;
    case "paid":
      return done(payment.attempts);
    case "failed":
      return failed(payment.reason);
  }
}

function reportOutcome({ report }: Upload): Progress | undefined {
  switch (report.status) {
    case "due":
      return undefined;
    case "made":
      return done(1);
    case "refused":
      return failed(report.reason);
  }
}
