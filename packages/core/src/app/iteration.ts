/**
 * Work in steps that can stop after any of them and go on elsewhere: `ctx.iterate(source)`.
 *
 * How far it has come is one text, the cursors of all iterations of the run by their place in it. It travels in a header of
 * the message: written into the message on loan every so often (`Checkpoints` of the broker), so that a crash repeats little,
 * and into the message that goes back when the run is interrupted or tried again, so that nothing is repeated.
 *
 * States of an iteration: fresh or resumed -> stepping -> ended (all steps done; later runs pass over it). An interruption
 * ends the run between two steps. Invariant: a cursor is of a step that is done, never of one that was only begun.
 */
import { decodeJson } from "../protocol/json-decode.ts";
import { encodeJson } from "../protocol/json-encode.ts";
import type { Clock } from "../shared/clock.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import { CallError } from "./errors.ts";
import { Interruption } from "./task-signals.ts";

/** Holds the cursors of a task that was interrupted, as JSON text. */
export const ITERATION_HEADER = "lovage_iteration";

/** What to go through: items with the cursor at which to go on after each. Called with the last cursor, or undefined at the start. */
export type IterationSource<Item, Cursor> = (
  cursor: Cursor | undefined,
) => AsyncIterable<IterationStep<Item, Cursor>> | Iterable<IterationStep<Item, Cursor>>;
/** An item, and the cursor that the source is called with to go on after it: any JSON value. */
export type IterationStep<Item, Cursor> = readonly [item: Item, cursor: Cursor];

export interface IterateOptions {
  /** Tells iterations of one task apart. Default: their order. */
  readonly name?: string;
  /** How often the cursor is made durable while nothing interrupts: what a crash repeats at most. Default 5 s. */
  readonly checkpointEvery?: Duration;
  /** After so long the message goes to the back of its queue, so that others have their turn. Default: never. */
  readonly maxRuntime?: Duration;
  /** How many steps there are in all, where that is known: told with the progress. */
  readonly total?: number;
}

/** The steps of an iteration. To be gone through once. */
export interface Steps<Item> extends AsyncIterable<Item> {
  /** Steps done, those of earlier runs included. */
  readonly done: number;
}

/** How far a run has come: what its message is to say, and its state. */
export interface Iterated {
  readonly text: string;
  /** Of the state PROGRESS; undefined when the task tells its state itself. */
  readonly progress: unknown;
}

/** What a run offers to its iterations. */
export interface IterationServices {
  readonly clock: Clock;
  /** Makes it durable. Resolves when it is, or when it could not be; never rejects. undefined: there is nothing to write it to. */
  readonly checkpoint: ((text: string) => Promise<void>) | undefined;
  /** Stores the state PROGRESS, unless the task tells its own. Never rejects. */
  progress(current: number, total: number | undefined): Promise<void>;
}

interface Saved {
  /** Absent before the first step. */
  cursor?: unknown;
  steps: number;
  ended?: true;
}

const CHECKPOINT_MS = 5000;
/** A message travels often, and its headers are in memory wherever it is looked at. */
const TEXT_MAX = 64 * 1024;
/** Steps that wait for nothing let the event loop turn after so long. */
const SLICE_MS = 20;

/** All iterations of one run. */
export class Iterations {
  readonly #task: string;
  readonly #services: IterationServices;
  readonly #saved: Map<string, Saved>;
  readonly #begunAt: number;
  /** Iterations under way, each inside the one before, and how many were begun inside it. */
  readonly #open: { readonly path: string; inside: number }[] = [];
  #beside = 0;
  #checkpointAt = Number.POSITIVE_INFINITY;
  #saving: Promise<void> | undefined;
  #turnAt: number;
  #latest: { readonly current: number; readonly total: number | undefined } | undefined;
  #isInterrupted = false;
  /** Done by this run. */
  #stepsHere = 0;
  #wake: (() => void) | undefined;

  /** @param text what the header of the message holds */
  constructor(task: string, text: unknown, services: IterationServices) {
    this.#task = task;
    this.#services = services;
    this.#saved = readSaved(text);
    this.#begunAt = this.#turnAt = services.clock.monotonic();
  }

  /** How far they have come; undefined before the first step of all. @throws CallError when it is no JSON or too large */
  get text(): string | undefined {
    if (this.#saved.size === 0) return undefined;
    const text = encodeJson(Object.fromEntries(this.#saved), { instances: "refuse", where: "cursors" });
    if (text.length > TEXT_MAX)
      throw new CallError(this.#task, `the cursor of ${this.#task} takes ${text.length} characters: more than ${TEXT_MAX} are not kept`);
    return text;
  }

  /** Of the outermost iteration that is under way. */
  get latest(): { readonly current: number; readonly total: number | undefined } | undefined {
    return this.#latest;
  }

  /** The run is to end after the step that it is at. */
  interrupt(): void {
    this.#isInterrupted = true;
    this.#wake?.();
  }

  begin<Item, Cursor>(source: IterationSource<Item, Cursor>, options: IterateOptions = {}): Steps<Item> {
    const everyMs = this.#duration("checkpointEvery", options.checkpointEvery) ?? CHECKPOINT_MS;
    const maxMs = this.#duration("maxRuntime", options.maxRuntime) ?? Number.POSITIVE_INFINITY;
    const outer = this.#open.at(-1);
    const nth = outer ? outer.inside++ : this.#beside++;
    const name = options.name ?? String(nth);
    const path = outer ? `${outer.path}/${name}` : name;
    const saved = this.#saved.get(path) ?? { steps: 0 };
    return {
      get done() {
        return saved.steps;
      },
      [Symbol.asyncIterator]: () => this.#walk(source, path, saved, { everyMs, maxMs, total: options.total, isOuter: outer === undefined }),
    };
  }

  async *#walk<Item, Cursor>(
    source: IterationSource<Item, Cursor>,
    path: string,
    saved: Saved,
    rules: WalkRules,
  ): AsyncGenerator<Item, void, undefined> {
    if (saved.ended) return;
    const place = { path, inside: 0 };
    this.#open.push(place);
    const steps = source(saved.cursor as Cursor | undefined); // what this source gave in an earlier run
    const iterator = Symbol.asyncIterator in steps ? steps[Symbol.asyncIterator]() : steps[Symbol.iterator]();
    let isAtEnd = false;
    this.#checkpointAt = Math.min(this.#checkpointAt, this.#services.clock.monotonic() + rules.everyMs);
    try {
      for (;;) {
        await this.#between(saved, rules);
        const next = await this.#next(iterator);
        if (next.done) {
          isAtEnd = true;
          break;
        }
        const [item, cursor] = next.value;
        if (cursor === undefined) throw new CallError(this.#task, `an iteration of ${this.#task} was given an item without a cursor`);
        yield item;
        saved.cursor = cursor;
        saved.steps += 1;
        this.#stepsHere += 1;
        this.#saved.set(path, saved);
        this.#forgetInside(place);
      }
      delete saved.cursor;
      saved.ended = true;
      this.#saved.set(path, saved);
    } finally {
      this.#open.splice(this.#open.indexOf(place));
      if (!isAtEnd) void Promise.resolve(iterator.return?.()).catch(() => undefined); // it is left in the middle: what it closes is its own
    }
  }

  /** What iterations inside of a step have come to is of no use to the next step. */
  #forgetInside(place: { readonly path: string; inside: number }): void {
    if (place.inside === 0) return;
    place.inside = 0;
    for (const path of this.#saved.keys()) if (path.startsWith(`${place.path}/`)) this.#saved.delete(path);
  }

  /** Between two steps: here the run ends when it is to, and what is due is made durable. */
  async #between(saved: Saved, { everyMs, maxMs, total, isOuter }: WalkRules): Promise<void> {
    const now = this.#services.clock.monotonic();
    if (isOuter && saved.steps > 0) this.#latest = { current: saved.steps, total };
    if (this.#isInterrupted) throw this.#interruption("front");
    if (now - this.#begunAt >= maxMs && this.#stepsHere > 0 && this.#services.checkpoint) throw this.#interruption("back");
    if (now >= this.#checkpointAt) {
      this.#checkpointAt = now + everyMs;
      await this.#checkpoint();
    }
    if (now - this.#turnAt < SLICE_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve)); // others have their turn, and interruptions are heard
    this.#turnAt = this.#services.clock.monotonic();
    if (this.#isInterrupted) throw this.#interruption("front");
  }

  #interruption(to: "front" | "back"): Interruption {
    void this.text; // tells the task, and not the worker, when it cannot be written
    return new Interruption(to);
  }

  /** One at a time is on its way, and nobody waits for it but the next. */
  async #checkpoint(): Promise<void> {
    const { checkpoint, progress } = this.#services;
    const { text } = this;
    await this.#saving;
    if (text === undefined) return;
    const told = this.#latest;
    this.#saving = Promise.all([checkpoint?.(text), told && progress(told.current, told.total)]).then(() => undefined);
  }

  /** The next step; an interruption does not wait for it. */
  async #next<Step>(iterator: AsyncIterator<Step> | Iterator<Step>): Promise<IteratorResult<Step>> {
    const next = iterator.next();
    if (!("then" in next)) return next;
    return await new Promise<IteratorResult<Step>>((resolve, reject) => {
      this.#wake = () => reject(this.#interruption("front"));
      next.then(resolve, reject);
    }).finally(() => (this.#wake = undefined));
  }

  #duration(option: string, value: Duration | undefined): number | undefined {
    if (value === undefined) return undefined;
    const ms = parseDuration(value);
    if (ms === undefined)
      throw new CallError(this.#task, `${option} of an iteration of ${this.#task} is not accepted: it takes ${DURATION_ACCEPTED}`);
    return ms;
  }
}

interface WalkRules {
  readonly everyMs: number;
  readonly maxMs: number;
  readonly total: number | undefined;
  /** It is not inside another: its steps are the progress. */
  readonly isOuter: boolean;
}

/** What is no text of ours was written by somebody else: the run begins anew. */
function readSaved(text: unknown): Map<string, Saved> {
  if (typeof text !== "string") return new Map();
  try {
    const saved = decodeJson(text) as Record<string, Partial<Saved>>;
    return new Map(Object.entries(saved).map(([path, each]) => [path, { ...each, steps: Number(each.steps) || 0 }]));
  } catch {
    return new Map();
  }
}
