/** The tasks of the simulation: one of each way in which a task can end, or not end. */
import { Lovage } from "../../src/app/app.ts";
import type { TaskContext } from "../../src/app/task-context.ts";
import { sleep } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import type { Kind, Ledger } from "./ledger.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

export const QUEUES = ["celery", "second"] as const;

export interface Times {
  readonly leaseMs: number;
  readonly graceMs: number;
  readonly parkMs: number;
  readonly unknownMs: number;
  readonly maxDeliveries: number;
}

export function makeApp(process: Process, times: Times): Lovage {
  return new Lovage("sim", {
    brokerUrl: "memory://sim",
    resultBackend: "memory://sim",
    logger: silentLogger,
    env: false,
    configFile: false,
    root: "/",
    setAsCurrent: false,
    clock: process.clock,
    random: process.random,
    leaseTime: times.leaseMs / 1000,
    shutdownGrace: times.graceMs / 1000,
    parkThreshold: times.parkMs / 1000,
    unknownTaskTtl: times.unknownMs / 1000,
    maxDeliveries: times.maxDeliveries,
  });
}

/** A new one each time: what waits for one that all share would keep every seed's world in memory. */
const never = (): Promise<never> => new Promise<never>(() => undefined);

export function defineTasks(app: Lovage, world: World, process: Process, ledger: Ledger, times: Times): void {
  const { chance } = world;
  const task = (kind: Kind, options: object, body: (ctx: TaskContext, retries: number) => unknown): void => {
    app.task({
      name: `sim.${kind}`,
      ...options,
      run(ctx: TaskContext, retries: number) {
        const run = ledger.begin(process, ctx);
        if (run === undefined) return never();
        const ended = (how: string): void => {
          world.note(`${ctx.id} ends: ${how}`);
          ledger.end(run, how);
        };
        let value: unknown;
        try {
          value = body(ctx, retries);
        } catch (thrown) {
          ended(nameOf(thrown));
          throw thrown;
        }
        if (!(value instanceof Promise)) {
          ended("done");
          return value;
        }
        if (kind === "timesOut") ended("hangs");
        return value.then(
          (done: unknown) => {
            if (kind !== "timesOut") ended("done");
            return done;
          },
          (thrown: unknown) => {
            if (kind !== "timesOut") ended(nameOf(thrown));
            throw thrown;
          },
        );
      },
    });
  };
  const wait = (lowMs: number, highMs: number, signal?: AbortSignal): Promise<void> =>
    sleep(process.uncounted, chance.between(lowMs, highMs), signal);
  const heeding = (ctx: TaskContext): AbortSignal | undefined => (chance.one(2) ? ctx.signal : undefined);

  task("quick", {}, () => "quick");
  task("slow", {}, async (ctx) => await wait(1, 500, heeding(ctx)));
  task("later", {}, async (ctx) => await wait(1, 100, heeding(ctx)));
  task("long", {}, async (ctx) => await wait(times.leaseMs, 3 * times.leaseMs, heeding(ctx)));
  task("fails", {}, async () => {
    await wait(0, 50);
    throw new Error("as planned");
  });
  task("retries", { maxRetries: null }, async (ctx, retries) => {
    if (chance.one(2)) await wait(0, 100);
    if (ctx.retries < retries) ctx.retry({ countdown: chance.pick([0, 0, 0.2, times.parkMs / 500]) });
  });
  task("early", { acksLate: false }, async (ctx) => await wait(0, 300, heeding(ctx)));
  task("earlyRetries", { acksLate: false, maxRetries: null }, (ctx, retries) => {
    if (ctx.retries < retries) ctx.retry({ countdown: chance.pick([0, 0.3]) });
  });
  task("ignores", {}, (ctx) => ctx.ignore());
  task("requeues", {}, async (ctx) => {
    await wait(0, 50);
    if (!ctx.delivery.redelivered) ctx.reject("not now", { requeue: true });
  });
  task("rejects", {}, (ctx) => ctx.reject("never"));
  task("poison", {}, async () => {
    if (chance.one(2)) await wait(0, 100);
    process.kill("poison");
    await never();
  });
  task("blocks", {}, async () => {
    if (chance.one(2)) await wait(0, 50);
    process.stop(chance.between(50, 2 * times.leaseMs), "main");
    await wait(0, 5);
  });
  task("timesOut", { timeLimit: 0.4 }, async (ctx) => await wait(2000, 4000, heeding(ctx)));
  task("expires", {}, async () => await wait(0, 200));
  task("tells", { trackStarted: true }, async (ctx) => {
    await wait(0, 100);
    await ctx.updateState("HALFWAY", { at: 1 });
    if (chance.one(2)) void ctx.progress(1, 2);
    await wait(0, 100);
  });
  task("hooked", { onSuccess: () => wait(0, 100), afterReturn: () => wait(0, 20) }, async () => await wait(0, 50));
  task("limited", { rateLimit: "10/s" }, async () => await wait(0, 20));
}

function nameOf(thrown: unknown): string {
  const { name, message } = thrown as Error;
  const known: Record<string, string> = { Ignore: "ignored", Reject: "rejected", Retry: "retry" };
  return known[name] ?? (message === "as planned" ? "failed" : name);
}
