/**
 * A payment provider with the manners of a real one: now and then it is
 * unavailable, slow or cuts the line, sometimes after the money has moved. The same seed fails in the same order.
 */
import { randomUUID } from "node:crypto";
import { type FastifyInstance, fastify } from "fastify";

export interface PaymentProviderOptions {
  /** Share of requests that go wrong, 0 to 1. */
  readonly failures: number;
  readonly seed: number;
}

/** Above this, in cents, the card is declined. */
export const CARD_LIMIT = 50_000;

type Fault = "unavailable" | "silent" | "cutBefore" | "cutAfter";
const FAULTS: readonly Fault[] = ["unavailable", "cutBefore", "silent", "cutAfter"];

export function paymentProvider(options: PaymentProviderOptions): FastifyInstance {
  const random = seeded(options.seed);
  const charges = new Map<string, { readonly receipt: string; readonly cents: number }>();
  const server = fastify({ forceCloseConnections: true });

  const body = { type: "object", required: ["cents"], properties: { cents: { type: "integer", minimum: 1 } } };
  const headers = { type: "object", required: ["idempotency-key"], properties: { "idempotency-key": { type: "string", minLength: 1 } } };

  server.post<{ Body: { cents: number }; Headers: { "idempotency-key": string } }>(
    "/charges",
    { schema: { body, headers } },
    (request, reply) => {
      const [wentWrong, which] = [random() < options.failures, random()];
      const fault = wentWrong ? FAULTS[Math.floor(which * FAULTS.length)] : undefined;
      if (fault === "unavailable") return reply.code(503).send({ error: "The payment service is busy." });
      if (fault === "silent") return reply.hijack(); // no answer: the caller has to give up by itself
      if (fault === "cutBefore") return cut();

      const { cents } = request.body;
      if (cents > CARD_LIMIT) return reply.code(402).send({ error: "The card's limit is 500.00." });
      const key = request.headers["idempotency-key"];
      const charge = charges.get(key) ?? { receipt: randomUUID().slice(0, 8).toUpperCase(), cents };
      charges.set(key, charge); // the same key again is the same charge: a caller may ask twice and pays once
      return fault === "cutAfter" ? cut() : reply.code(201).send(charge);

      function cut() {
        reply.hijack();
        request.raw.socket.resetAndDestroy();
        return reply;
      }
    },
  );

  server.get("/charges", () => [...charges.values()]);
  return server;
}

/** Mulberry32: small, and good enough to decide who is unlucky. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
