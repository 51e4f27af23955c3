/** The Node side of the interoperability tests: one application with the counterparts of python/peer_app.py. */
import { Lovage, type LovageOptions } from "lovage";

/** Errors of an application: Python has no class of this name, and rebuilds one from it. */
export class PaymentDeclined extends Error {
  override readonly name = "PaymentDeclined";
}

export function nodeApp(options: LovageOptions) {
  const app = new Lovage("interop", { taskDefaultQueue: "node", acceptContent: ["json"], ...options });

  app.task("node.add", (x: number, y: number) => x + y);
  app.task({
    name: "node.echo",
    run: (ctx, value: unknown) => (Object.keys(ctx.kwargs).length > 0 ? { value, kwargs: ctx.kwargs } : value),
  });
  app.task("node.fail", (text: string) => {
    throw new RangeError(text);
  });
  app.task("node.fail_custom", (text: string) => {
    throw new PaymentDeclined(text);
  });
  app.task("node.refused", async () => {
    const { connect } = await import("node:net");
    await new Promise((_, reject) => connect(1, "127.0.0.1").once("error", reject)); // nobody listens on port 1
  });
  app.task({
    name: "node.flaky",
    maxRetries: 5,
    defaultRetryDelay: "100ms",
    run(ctx, failures: number) {
      if (ctx.retries < failures)
        throw ctx.retry({
          error: Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED", errno: -111, syscall: "connect" }),
        });
      return { attempts: ctx.retries + 1 };
    },
  });
  app.task({
    name: "node.by_policy",
    retry: { for: [PaymentDeclined], maxRetries: 2, backoff: { kind: "fixed", delay: "50ms" } },
    run(ctx, failures: number) {
      if (ctx.retries < failures) throw new PaymentDeclined("not yet");
      return ctx.retries;
    },
  });
  app.task({
    name: "node.by_celery_options",
    autoretryFor: [PaymentDeclined],
    maxRetries: 2,
    retryBackoff: true,
    retryBackoffMax: 1,
    retryJitter: true,
    run(ctx, failures: number) {
      if (ctx.retries < failures) throw new PaymentDeclined("not yet");
      return ctx.retries;
    },
  });
  app.task("node.started_at", () => Date.now() / 1000);
  app.task({
    name: "node.request",
    run: (ctx) => ({
      id: ctx.id,
      rootId: ctx.rootId,
      parentId: ctx.parentId ?? null,
      retries: ctx.retries,
      args: ctx.args,
      kwargs: ctx.kwargs,
      headers: ctx.headers,
      correlationId: ctx.correlationId,
      shadow: ctx.shadow,
    }),
  });
  /** Runs until its signal aborts. */
  app.task({
    name: "node.waits",
    run: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error))),
  });
  app.task({ name: "node.ignored", run: (ctx) => ctx.ignore() });
  app.task({ name: "node.rejected", run: (ctx) => ctx.reject("not for us", { requeue: false }) });
  return app;
}
