import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { FastifyInstance } from "fastify";
import { paymentProvider } from "../src/payment-provider.ts";

const ORDER = "4f7d4a2e-9d3c-4b55-8f0e-2f3f1c3b7a10";
const forever = new AbortController().signal;
let provider: FastifyInstance;

/** The client, talking to a provider that fails as `options` say. */
async function connect(options: { failures: number; seed: number }) {
  provider = paymentProvider(options);
  vi.stubEnv("SHOP_PAYMENT_URL", await provider.listen({ host: "127.0.0.1", port: 0 }));
  vi.resetModules();
  return import("../src/payment-client.ts");
}

const charges = async () => (await provider.inject("/charges")).json() as { cents: number }[];

beforeEach(() => void vi.unstubAllEnvs());
afterEach(() => provider.close());

test("a charge gives a receipt, and asked for again gives the same one and takes nothing more", async () => {
  const { charge } = await connect({ failures: 0, seed: 1 });
  const receipt = await charge(ORDER, 1790, forever);
  expect(await charge(ORDER, 1790, forever)).toBe(receipt);
  expect(await charges()).toEqual([{ receipt, cents: 1790 }]);
});

test("a card's limit is an answer, not a failure", async () => {
  const { charge, CardDeclinedError } = await connect({ failures: 0, seed: 1 });
  await expect(charge(ORDER, 50_001, forever)).rejects.toThrow(CardDeclinedError);
});

test("whatever goes wrong is PaymentUnavailableError; trying until it works takes the money once", async () => {
  const { charge, PaymentUnavailableError } = await connect({ failures: 0.8, seed: 52 }); // 503, cut after the charge, silence, cut before it
  const attempts: unknown[] = [];
  do attempts.push(await charge(ORDER, 1790, forever).catch((error: unknown) => error));
  while (typeof attempts.at(-1) !== "string");
  expect(attempts).toEqual([
    new PaymentUnavailableError("The payment service answered 503."),
    new PaymentUnavailableError("The payment service broke the connection."),
    new PaymentUnavailableError("The payment service did not answer within 1.5 s."),
    new PaymentUnavailableError("The payment service broke the connection."),
    expect.any(String),
  ]);
  expect(await charges()).toEqual([{ receipt: attempts.at(-1), cents: 1790 }]);
});

test("an abort is the caller's reason, not a failure of the service", async () => {
  const { charge } = await connect({ failures: 1, seed: 2 }); // its first failure is silence
  const stop = new AbortController();
  const charged = charge(ORDER, 1790, stop.signal);
  stop.abort(new Error("time is up"));
  await expect(charged).rejects.toThrow("time is up");
});

test("the same seed fails in the same order", async () => {
  const outcomes = async () => {
    const { charge } = await connect({ failures: 0.5, seed: 7 });
    const answers: boolean[] = [];
    for (let call = 0; call < 6; call += 1)
      answers.push(
        await charge(ORDER, 100, forever).then(
          () => true,
          () => false,
        ),
      );
    await provider.close();
    return answers;
  };
  const first = await outcomes();
  expect(first).toContain(false);
  expect(await outcomes()).toEqual(first);
});
