import type { FastifyReply } from "fastify";

/** Server-sent events to one browser, which reconnects by itself whenever the stream ends. */
export interface EventStream {
  /** `data` as JSON. Nothing is sent once the browser is gone. */
  send(event: string, data: unknown): void;
  onClose(listener: () => void): void;
}

const HEARTBEAT_MS = 15_000;
/** A browser that reads too slowly is cut off; when it is back it is told everything anew. */
const MOST_UNSENT_BYTES = 1024 * 1024;

export function openEventStream(reply: FastifyReply): EventStream {
  reply.hijack(); // the answer never ends: it is written here and not by Fastify
  const { raw } = reply;
  raw.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" });
  const write = (text: string) => {
    if (raw.destroyed) return;
    raw.write(text);
    if (raw.writableLength > MOST_UNSENT_BYTES) raw.destroy();
  };
  const heartbeat = setInterval(() => write(": still here\n\n"), HEARTBEAT_MS);
  raw.once("close", () => clearInterval(heartbeat));
  return {
    send: (event, data) => write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
    onClose: (listener) => void raw.once("close", listener),
  };
}
