/**
 * A few pages over HTTP, for probers and Prometheus: Node's own server, with its limits set for what those do and no more.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export interface PageServer {
  readonly port: number;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;
const REQUEST_MS = 5000;

/** @param pages by path. @throws what `listen` throws */
export async function servePages(
  where: { readonly host: string; readonly port: number },
  pages: Readonly<Record<string, () => Page | Promise<Page>>>,
): Promise<PageServer> {
  const server = createServer(
    {
      requestTimeout: REQUEST_MS,
      headersTimeout: REQUEST_MS,
      connectionsCheckingInterval: REQUEST_MS,
      keepAliveTimeout: REQUEST_MS,
      maxHeaderSize: 8192,
    },
    (request, response) => void answer(request, response, pages),
  );
  server.maxConnections = MAX_CONNECTIONS;
  await listening(server, where);
  server.on("error", () => undefined); // of a connection that could not be accepted: the prober sees it
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function listening(server: Server, { host, port }: { readonly host: string; readonly port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, pages: Readonly<Record<string, () => Page | Promise<Page>>>) {
  request.resume();
  response.on("error", () => undefined);
  const path = (request.url ?? "/").split("?", 1)[0] as string;
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    return send(request, response, text(405, "only GET and HEAD\n"));
  }
  if (page === undefined) return send(request, response, text(404, `there is ${Object.keys(pages).join(", ")}\n`));
  try {
    send(request, response, await page());
  } catch {
    send(request, response, text(500, "the page could not be made\n"));
  }
}

function send(request: IncomingMessage, response: ServerResponse, { status, type, body }: Page): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, { "content-type": type, "content-length": bytes.length, "cache-control": "no-store" });
  response.end(request.method === "HEAD" ? undefined : bytes);
}

function text(status: number, body: string): Page {
  return { status, type: "text/plain; charset=utf-8", body };
}
