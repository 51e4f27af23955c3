/** The shop's HTTP interface. It takes orders and files, sends tasks, and reports what becomes of them; it does none of the work. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type FastifyInstance, fastify } from "fastify";
import { LovageError } from "lovage";
import { catalogue } from "./catalogue.ts";
import { type EventStream, openEventStream } from "./event-stream.ts";
import { orders, reports, uploads } from "./store.ts";
import { TaskBoard, type TaskView } from "./task-board.ts";
import { paymentTask, reportTask, showEarlierTasks } from "./task-history.ts";
import { buildReport, takePayment } from "./tasks.ts";

const LARGEST_UPLOAD = 20 * 1024 * 1024;
const SHOWN_AT_START = 30;

const PAGE = [
  { path: "/", file: "index.html", type: "text/html; charset=utf-8" },
  { path: "/page.js", file: "page.js", type: "text/javascript; charset=utf-8" },
  { path: "/style.css", file: "style.css", type: "text/css; charset=utf-8" },
  { path: "/icon.svg", file: "icon.svg", type: "image/svg+xml" },
] as const;

/** The page may load what comes from here, and nothing else; no other site may frame it. */
const SECURITY_HEADERS = {
  "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

export async function shopServer(): Promise<FastifyInstance> {
  const server = fastify({ forceCloseConnections: true }); // event streams would otherwise hold it open
  const board = new TaskBoard();
  server.addHook("onClose", () => board.close());
  server.addHook("onRequest", async (_request, reply) => void reply.headers(SECURITY_HEADERS));

  server.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof LovageError)) return reply.send(error);
    console.error(error); // the broker is away, most likely: nothing was accepted, so the same request may come again
    return reply.code(503).send({ message: "The shop cannot take this just now. Please try again in a moment." });
  });

  for (const { path, file, type } of PAGE) {
    const content = await readFile(new URL(`../page/${file}`, import.meta.url));
    server.get(path, (_request, reply) => reply.type(type).send(content));
  }

  server.get("/api/products", () => catalogue);

  server.post<{ Body: { customer: string; product: string; quantity: number } }>(
    "/api/orders",
    { schema: { body: ORDER } },
    async (request, reply) => {
      const { customer, quantity } = request.body;
      const product = catalogue.find(({ id }) => id === request.body.product);
      if (!product) return reply.code(400).send({ message: "There is no such product." });

      const order = {
        id: randomUUID(),
        customer: customer.trim(),
        product: product.name,
        quantity,
        cents: product.cents * quantity,
        placedAt: new Date().toISOString(),
        payment: { status: "due" },
      } as const;
      await orders.save(order);
      // The task has the order's id, so that whoever knows the order can ask how the task is doing.
      await takePayment.applyAsync([order.id], null, { taskId: order.id }).catch(async (error: unknown) => {
        await orders.remove(order.id);
        throw error;
      });
      void board.follow(paymentTask(order));
      return reply.code(202).send(order);
    },
  );

  server.addContentTypeParser("text/csv", { parseAs: "buffer", bodyLimit: LARGEST_UPLOAD }, (_request, body, done) => done(null, body));
  server.post<{ Body: Buffer; Querystring: { name: string } }>(
    "/api/uploads",
    { schema: { querystring: UPLOAD } },
    async (request, reply) => {
      const upload = {
        id: randomUUID(),
        name: request.query.name,
        bytes: request.body.length,
        uploadedAt: new Date().toISOString(),
        report: { status: "due" },
      } as const;
      await uploads.save(upload, request.body);
      await buildReport.applyAsync([upload.id], null, { taskId: upload.id }).catch(async (error: unknown) => {
        await uploads.remove(upload.id);
        throw error;
      });
      void board.follow(reportTask(upload));
      return reply.code(202).send(upload);
    },
  );

  server.get<{ Params: { id: string } }>("/api/reports/:id", { schema: { params: ID } }, async ({ params }, reply) => {
    const [upload, report] = await Promise.all([uploads.read(params.id), reports.read(params.id)]);
    return upload && report
      ? { id: params.id, name: upload.name, ...report }
      : reply.code(404).send({ message: "There is no such report." });
  });

  server.get<{ Params: { id: string } }>("/api/reports/:id/chart.svg", { schema: { params: ID } }, async ({ params }, reply) => {
    const chart = await reports.readChart(params.id);
    if (chart === undefined) return reply.code(404).send({ message: "There is no such report." });
    return reply.header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'").type("image/svg+xml").send(chart);
  });

  server.get("/api/events", async (_request, reply) => {
    const stream = openEventStream(reply);
    let telling = Promise.resolve();
    const tell = (view: TaskView) => {
      stream.send("task", view);
      // One after the other, so that what was read first is also told first.
      if (view.kind === "payment") telling = telling.then(() => tellOrder(stream, view)).catch(console.error);
    };
    stream.onClose(board.listen(tell));
    for (const view of board.views) tell(view);
    await telling;
    stream.send("told", null); // what comes from here on is news
    return reply;
  });

  await showEarlierTasks(board, SHOWN_AT_START);
  return server;
}

async function tellOrder(stream: EventStream, view: TaskView): Promise<void> {
  const order = await orders.read(view.id);
  if (!order) return;
  // A failure is known by its result a moment before the task's onFailure has marked the order.
  const failed = view.state === "failed" && order.payment.status === "due";
  stream.send("order", failed ? { ...order, payment: { status: "failed", reason: view.problem } } : order);
}

const ID = { type: "object", properties: { id: { type: "string", format: "uuid" } } };
const ORDER = {
  type: "object",
  required: ["customer", "product", "quantity"],
  properties: {
    customer: { type: "string", minLength: 1, maxLength: 60, pattern: "\\S" },
    product: { type: "string" },
    quantity: { type: "integer", minimum: 1, maximum: 99 },
  },
};
const UPLOAD = { type: "object", required: ["name"], properties: { name: { type: "string", minLength: 1, maxLength: 200 } } };
