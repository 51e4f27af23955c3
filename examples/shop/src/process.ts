import type { FastifyInstance } from "fastify";

const HOST = "127.0.0.1";

/**
 * Serves until SIGINT or SIGTERM comes, or the process that started this one is gone; then closes the server.
 * Tells that process the address. When `port` is taken, any free one will do.
 */
export async function serve(server: FastifyInstance, port: number): Promise<void> {
  const url = await server.listen({ host: HOST, port }).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "EADDRINUSE")) throw error;
    return server.listen({ host: HOST, port: 0 });
  });
  process.send?.({ url });
  await new Promise<void>((resolve) => {
    process.on("SIGINT", resolve).on("SIGTERM", resolve).on("disconnect", resolve);
  });
  await server.close();
  if (process.connected) process.disconnect();
}
