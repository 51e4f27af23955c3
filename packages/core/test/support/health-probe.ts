/** Asks a worker for its health, as a prober does: one small request, and how long its answer took. */
import { get } from "node:http";

export interface Probed {
  readonly status: number;
  readonly body: string;
  readonly tookMs: number;
}

/** `undefined` when nobody listens. */
export function probe(port: number, path: string): Promise<Probed | undefined> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const request = get({ host: "127.0.0.1", port, path, agent: false, timeout: 10_000 }, (response) => {
      let body = "";
      response.on("data", (part: Buffer) => (body += part.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body, tookMs: performance.now() - begun }));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(undefined));
  });
}

export async function statusOf(port: number, path: string): Promise<number | undefined> {
  return (await probe(port, path))?.status;
}

/** The value of a metric without labels, or with exactly the labels given: `name{task="a",queue="b"}`. */
export function metric(page: string, series: string): number | undefined {
  const line = page.split("\n").find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}
