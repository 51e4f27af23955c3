// #region place
import type { Pool } from "pg";
import { Lovage } from "lovage";
import { Outbox, pgExecutor } from "lovage/outbox";

export const app = new Lovage("shop");

export const confirm = app.task("mail.confirm", (orderId: string) => `mail about ${orderId}`);

const outbox = new Outbox(app);

export async function placeOrder(pool: Pool, orderId: string, customer: string): Promise<string> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query("INSERT INTO orders (id, customer) VALUES ($1, $2)", [orderId, customer]);
    // Tasks of one customer are sent in the order of their orders.
    const sent = await outbox.enqueue(pgExecutor(client), confirm.call(orderId), { key: customer });
    await client.query("COMMIT");
    return sent.id;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}
// #endregion

// #region metrics
import { serveRelayMetrics } from "lovage/outbox";

export async function measuredRelayUntil(signal: AbortSignal, port: number): Promise<void> {
  await using store = openOutboxStore(app);
  const relay = new OutboxRelay(app, store);
  await using _metrics = await serveRelayMetrics(relay, { port });
  await relay.run(signal);
}
// #endregion

// #region embedded
import { openOutboxStore, OutboxRelay } from "lovage/outbox";

export async function relayUntil(signal: AbortSignal): Promise<void> {
  await using store = openOutboxStore(app); // the setting outboxUrl
  await new OutboxRelay(app, store).run(signal);
}
// #endregion
