/** Reads and awaits result documents. All reads of one turn of the event loop are one round trip. */
import type { ResultTuple } from "../canvas/result-tuple.ts";
import { decodeGroup, encodeGroup } from "../canvas/saved-group.ts";
import type { Plan } from "../canvas/unroll.ts";
import { decodeResult, type ResultDocument } from "../protocol/result.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import { isReady } from "../protocol/states.ts";
import type { ResultBackend, ResultText } from "../results/result-backend.ts";
import { onAbort } from "../shared/abort.ts";
import type { Clock, Timer } from "../shared/clock.ts";
import { ResultsDisabledError, ResultTimeoutError } from "./errors.ts";
import { AwaitedSends } from "./awaited-sends.ts";
import type { Settings } from "./settings.ts";

export interface ReaderDeps {
  backend(): Promise<ResultBackend | undefined>;
  settings(): Settings;
  readonly clock: Clock;
}

export interface WaitOptions {
  readonly timeoutMs: number | null;
  readonly signal: AbortSignal | undefined;
  /** Told of every state that is stored meanwhile. */
  readonly onMessage: ((document: ResultDocument) => void) | undefined;
}

interface Read {
  readonly id: string;
  resolve(document: ResultDocument | undefined): void;
  reject(error: unknown): void;
}

export class ResultReader {
  /** Told of what is sent, so that what is asked for at once is watched from the start. */
  readonly awaitedSends = new AwaitedSends(async (id, onText) => await (await this.#backend()).watch(id, onText));
  readonly #deps: ReaderDeps;
  #reads: Read[] = [];
  #codec: { readonly accept: ReadonlySet<string>; readonly serializer: string } | undefined;

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
  }

  /** The document as it is now; undefined when there is none. @throws ResultsDisabledError */
  read(id: string): Promise<ResultDocument | undefined> {
    return new Promise((resolve, reject) => {
      this.#reads.push({ id, resolve, reject });
      if (this.#reads.length === 1) setImmediate(() => void this.#readAll());
    });
  }

  async #readAll(): Promise<void> {
    const reads = this.#reads;
    this.#reads = [];
    try {
      const backend = await this.#backend();
      const texts = await backend.fetch(reads.map((read) => read.id));
      for (const [index, read] of reads.entries()) this.#answer(read, texts[index]);
    } catch (error) {
      for (const read of reads) read.reject(error);
    }
  }

  #answer(read: Read, text: ResultText | undefined): void {
    try {
      read.resolve(text === undefined ? undefined : this.decode(text));
    } catch (error) {
      read.reject(error);
    }
  }

  /**
   * Resolves with the first document whose state is ready. Never later than the timeout, whatever the backend does.
   * @throws ResultTimeoutError, ResultsDisabledError, the signal's reason, BackendUnavailableError
   */
  async wait(id: string, options: WaitOptions): Promise<ResultDocument> {
    const { signal, timeoutMs, onMessage } = options;
    signal?.throwIfAborted();
    let lastState = "PENDING";
    let timer: Timer | undefined;
    let stopListening: (() => void) | undefined;
    let watching: Disposable | undefined;
    let ended = false;
    try {
      return await new Promise<ResultDocument>((resolve, reject) => {
        if (signal) stopListening = onAbort(signal, () => reject(signal.reason));
        if (timeoutMs !== null) timer = this.#deps.clock.timer(timeoutMs, () => reject(new ResultTimeoutError(id, timeoutMs, lastState)));
        const onText = (text: ResultText): void => {
          try {
            const document = this.decode(text);
            lastState = document.state;
            onMessage?.(document);
            if (isReady(document.state)) resolve(document);
          } catch (error) {
            reject(error);
          }
        };
        const early = this.awaitedSends.asked(id);
        if (early) watching = early;
        const watched = early
          ? early.listen(onText)
          : this.#watch(id, onText, (watch) => {
              if (ended) watch[Symbol.dispose]();
              else watching = watch;
            });
        watched.catch(reject);
      });
    } finally {
      ended = true;
      timer?.cancel();
      stopListening?.();
      watching?.[Symbol.dispose]();
    }
  }

  async #watch(id: string, onText: (text: ResultText) => void, started: (watch: Disposable) => void): Promise<void> {
    const backend = await this.#backend();
    started(await backend.watch(id, onText));
  }

  async forget(ids: readonly string[]): Promise<void> {
    await (await this.#backend()).forget(ids);
  }

  /** What must be known of a workflow's groups before their first member is sent. @throws ResultsDisabledError */
  async beginGroups({ sizes, nested }: Pick<Plan, "sizes" | "nested">): Promise<void> {
    if (sizes.length === 0 && nested.length === 0) return;
    const { groups } = await this.#backend();
    const expiresMs = this.#expiresMs;
    if (sizes.length > 0) await groups.begin(sizes.map((size) => ({ ...size, expiresMs })));
    for (const tuple of nested) await groups.save(tuple[0][0], this.#encodeGroup(tuple), expiresMs);
  }

  /** The group waits for so many more. @throws ResultsDisabledError */
  async extendGroup(groupId: string, count: number): Promise<void> {
    await (await this.#backend()).groups.extend(groupId, count, this.#expiresMs);
  }

  async saveGroup(id: string, tuple: ResultTuple): Promise<void> {
    await (await this.#backend()).groups.save(id, this.#encodeGroup(tuple), this.#expiresMs);
  }

  /** undefined when it was not saved, or has expired. */
  async restoreGroup(id: string): Promise<ResultTuple | undefined> {
    const text = await (await this.#backend()).groups.restore(id);
    return text === undefined ? undefined : decodeGroup(text, this.#decoding());
  }

  async forgetGroup(id: string): Promise<void> {
    await (await this.#backend()).groups.forget([id]);
  }

  get #expiresMs(): number | undefined {
    return this.#deps.settings().resultExpiresMs || undefined;
  }

  #encodeGroup(tuple: ResultTuple): ResultText {
    return encodeGroup(tuple, this.#decoding().serializer);
  }

  decode(text: ResultText): ResultDocument {
    return decodeResult(text, this.#decoding());
  }

  #decoding(): { readonly accept: ReadonlySet<string>; readonly serializer: string } {
    if (this.#codec) return this.#codec;
    const settings = this.#deps.settings();
    this.#codec = {
      accept: contentTypesFor(settings.resultAcceptContent ?? settings.acceptContent),
      serializer: settings.resultSerializer,
    };
    return this.#codec;
  }

  async #backend(): Promise<ResultBackend> {
    const backend = await this.#deps.backend();
    if (!backend) throw new ResultsDisabledError();
    return backend;
  }
}
