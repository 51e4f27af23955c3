/**
 * A link that a test can break: delays, cuts and half-opens what passes between a client and a server on this machine.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

export type Direction = "request" | "answer";

/** What to do with a chunk that passes. */
export type Passage =
  | "pass"
  /** Break the connection; the chunk does not arrive. */
  | "cut"
  /** The first half arrives, then the connection breaks. */
  | "cutHalfway"
  /** It arrives, then the connection breaks. */
  | "cutAfter"
  /** The client's side breaks; the chunk arrives when `deliverLate` is called. */
  | "late";

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** Nothing passes on it any more, whatever becomes of the link. */
  isDead: boolean;
}

export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #port = 0;
  /** Decides about each chunk; `index` counts chunks of that direction over all connections. */
  judge: (direction: Direction, index: number, chunk: Buffer) => Passage = () => "pass";
  /** New connections are refused. */
  refuses = false;
  /** Nothing passes, and nobody is told: a link that died without a word. */
  isSilent = false;
  delayMs = 0;
  #counts = { request: 0, answer: 0 };
  readonly #late: (() => void)[] = [];
  /** Nothing passes until `release`: then all does, in order. */
  isHolding = false;
  readonly #held: (() => void)[] = [];

  private constructor(targetPort: number) {
    this.#server = createServer((client) => this.#accept(client, targetPort));
  }

  static async start(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject);
      proxy.#server.listen(0, "127.0.0.1", resolve);
    });
    const address = proxy.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy has no port");
    proxy.#port = address.port;
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}/0`;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** The link is there again, for connections that are made from now on: those that were open stay half-open, as after a router lost its tables. */
  heal(): void {
    this.isSilent = false;
    for (const pair of this.#pairs) pair.isDead = true;
  }

  /** Breaks all connections. */
  cut(): void {
    for (const pair of this.#pairs) this.#end(pair);
  }

  /** What was on its way when its client was gone arrives now, where the server still listens. */
  deliverLate(): void {
    for (const deliver of this.#late.splice(0)) deliver();
  }

  release(): void {
    this.isHolding = false;
    for (const pass of this.#held.splice(0)) pass();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  #accept(client: Socket, targetPort: number): void {
    if (this.refuses) return void client.destroy();
    const pair: Pair = { client, server: connect(targetPort, "127.0.0.1"), isDead: false };
    this.#pairs.add(pair);
    for (const socket of [pair.client, pair.server]) {
      socket.setNoDelay(true);
      socket.on("error", () => this.#end(pair));
      socket.on("close", () => this.#end(pair));
    }
    pair.client.on("data", (chunk) => this.#pass(pair, "request", chunk));
    pair.server.on("data", (chunk) => this.#pass(pair, "answer", chunk));
  }

  #pass(pair: Pair, direction: Direction, chunk: Buffer): void {
    if (this.isSilent || pair.isDead) return;
    if (this.isHolding) return void this.#held.push(() => this.#pass(pair, direction, chunk));
    const to = direction === "request" ? pair.server : pair.client;
    const passage = this.judge(direction, this.#counts[direction]++, chunk);
    if (passage === "cut") return this.#end(pair);
    if (passage === "pass") {
      if (this.delayMs > 0) setTimeout(() => to.write(chunk), this.delayMs);
      else to.write(chunk);
      return;
    }
    if (passage === "late") {
      this.#pairs.delete(pair);
      pair.client.destroy();
      this.#late.push(() => pair.server.end(chunk));
      return;
    }
    const part = passage === "cutHalfway" ? chunk.subarray(0, chunk.length >> 1) : chunk;
    to.write(part, () => this.#end(pair));
  }

  #end(pair: Pair): void {
    if (!this.#pairs.delete(pair)) return;
    pair.client.destroy();
    pair.server.destroy();
  }
}
