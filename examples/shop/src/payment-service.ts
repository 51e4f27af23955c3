/** The payment service's process. SHOP_PAYMENT_FAILURES is the share of requests that go wrong, SHOP_PAYMENT_SEED decides which: with 34, two of the first three are unlucky. */
import { paymentProvider } from "./payment-provider.ts";
import { serve } from "./process.ts";

const failures = Number(process.env["SHOP_PAYMENT_FAILURES"] ?? 0.4);
const seed = Number(process.env["SHOP_PAYMENT_SEED"] ?? 34);

await serve(paymentProvider({ failures, seed }), 0);
