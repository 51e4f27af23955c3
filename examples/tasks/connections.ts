import { BrokerOutOfMemoryError, Lovage, PublishFailedError } from "lovage";

// #region sentinel
/** Every process of the shop: the sentinels say which server is the master, now and after a failover. */
export function shopOnSentinels(sentinels: readonly string[], password: string): Lovage {
  const urls = sentinels.map((host) => `sentinel://:${encodeURIComponent(password)}@${host}/0`).join(";");
  const transportOptions = {
    master_name: "shop",
    sentinel_kwargs: { password }, // the sentinels' own
  };
  return new Lovage("shop", {
    brokerUrl: urls,
    resultBackend: urls,
    brokerTransportOptions: { ...transportOptions, wait_replicas: 1 }, // sent means: on the master and on one replica
    resultBackendTransportOptions: transportOptions,
  });
}
// #endregion

// #region list
/** Two servers, of which one replicates the other: whichever takes writes is used. */
export const onTwoServers = (): Lovage => new Lovage("shop", { brokerUrl: "redis://redis-1:6379/0;redis://redis-2:6379/0" });
// #endregion

// #region buffer
/** A service that sends reports: up to 10,000 calls wait for a broker that is away, each for two minutes at most. */
export const reporting = (brokerUrl: string): Lovage =>
  new Lovage("reporting", { brokerUrl, publishTimeout: "2s", publishBuffer: 10_000, publishBufferTimeout: "2m" });
// #endregion

// #region errors
/** What a caller can know when a call could not be sent. */
export async function send(app: Lovage, orderId: string): Promise<"sent" | "try later" | "may run" | "queue is full"> {
  try {
    await app.sendTask("shop.ship", [orderId]);
    return "sent"; // the broker holds it
  } catch (error) {
    if (!(error instanceof PublishFailedError)) throw error; // arguments that cannot be sent, a wrong configuration
    if (error.cause instanceof BrokerOutOfMemoryError) {
      const waiting = error.cause.depths.reduce((sum, { ready }) => sum + ready, 0);
      console.error(`the broker is full, with ${waiting} messages before this one`);
      return "queue is full";
    }
    return error.calls.some(({ fate }) => fate === "unknown") ? "may run" : "try later";
  }
}
// #endregion
