/** A simulated operating system process: its threads, its clocks, its network, and what is done to it. */
import type { Clock } from "../../src/shared/clock.ts";
import { SimClock, Thread, type World } from "./world.ts";

/** The connection broke. `sent`: the other side may have done it all the same. */
export class LinkLost extends Error {
  readonly sent: boolean;

  constructor(sent: boolean) {
    super(sent ? "the connection broke before the answer came" : "no connection");
    this.sent = sent;
  }
}

export interface Faults {
  /** One in so many requests is refused before it is sent, and one in so many answers is lost. 0: none. */
  loss: number;
  /** The process dies at one in so many requests or answers. 0: never. */
  death: number;
  slowestMs: number;
}

const GOOD_ERROR_MS = 40;

export class Process {
  readonly label: string;
  readonly main: Thread;
  readonly guard: Thread;
  readonly clock: SimClock;
  readonly random: () => number;
  readonly #world: World;
  readonly #faults: Faults;
  /** Cut off from the broker until then. */
  cutUntil = 0;
  /** Under which its worker keeps loans, once it consumes. */
  owner: string | undefined;
  isDead = false;
  isStopping = false;
  /** Until when a lease may be lost for a reason, given that a fault began it. */
  lastFaultAt = Number.NEGATIVE_INFINITY;
  /** Until when it was cut off, lost a request or an answer, or one of its threads stood still. */
  lastTroubleAt = Number.NEGATIVE_INFINITY;
  /** How wrong it may be about the broker's time. */
  clockErrorMs = Number.POSITIVE_INFINITY;
  /** What came before was looked at with a wrong clock. */
  clockRightSince = Number.POSITIVE_INFINITY;
  #jumps = 0;
  #renewalsFailed = 0;
  onDeath: () => void = () => undefined;
  /** What a dying process had written to its sockets still arrives. */
  #lastWords = true;

  constructor(world: World, label: string, faults: Faults) {
    const { chance } = world;
    this.#world = world;
    this.#faults = faults;
    this.label = label;
    this.main = new Thread(label);
    this.guard = new Thread(`${label}/g`);
    this.random = chance.next;
    const skew = { wallMs: chance.between(-3000, 3000), rate: chance.between(0.995, 1.005), start: chance.between(1, 1e9) };
    this.clock = new SimClock(world, this.main, skew);
  }

  /** For what is not the product's: drivers and tasks. Its timers are not counted. */
  get uncounted(): Clock {
    const { clock, main } = this;
    const world = this.#world;
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      timer: (ms, fire) => world.schedule(ms, world.current.getStore() ?? main, fire),
    };
  }

  get isCut(): boolean {
    return this.cutUntil > this.#world.now;
  }

  kill(why: string): void {
    if (this.isDead) return;
    this.#world.note(`${this.label} DIES: ${why}`);
    this.isDead = true;
    this.main.isDead = true;
    this.guard.isDead = true;
    this.lastFaultAt = this.#world.now;
    this.#lastWords = this.#world.chance.one(2);
    this.onDeath();
  }

  /** All of it, as SIGSTOP does, or the thread that runs tasks, as a busy task does. */
  stop(forMs: number, what: "all" | "main"): void {
    const until = this.#world.now + forMs;
    this.#world.note(`${this.label} ${what === "all" ? "stops" : "blocks"} for ${forMs.toFixed(0)} ms`);
    this.main.stoppedUntil = Math.max(this.main.stoppedUntil, until);
    this.lastTroubleAt = Math.max(this.lastTroubleAt, until);
    if (what === "main") return;
    this.guard.stoppedUntil = Math.max(this.guard.stoppedUntil, until);
    this.#faulty(until);
  }

  cut(forMs: number): void {
    this.#world.note(`${this.label} is cut off for ${forMs.toFixed(0)} ms`);
    this.cutUntil = Math.max(this.cutUntil, this.#world.now + forMs);
    this.lastTroubleAt = Math.max(this.lastTroubleAt, this.cutUntil + 3500); // a cut connection may break that late
    this.#faulty(this.cutUntil);
  }

  /** Two in a row that failed are a reason to lose the lease: the rest of it may be needed for the next tries. */
  renewed(isDone: boolean): void {
    this.#renewalsFailed = isDone ? 0 : this.#renewalsFailed + 1;
    if (this.#renewalsFailed >= 2) this.#faulty(this.#world.now);
  }

  jump(byMs: number): void {
    this.#world.note(`${this.label}'s clock jumps by ${byMs.toFixed(0)} ms`);
    this.clock.wallOffsetMs += byMs;
    this.clockErrorMs = Number.POSITIVE_INFINITY;
    this.clockRightSince = Number.POSITIVE_INFINITY;
    this.#jumps += 1;
  }

  /** It asks for the broker's time; the function is to be called with the answer. An answer is as good as its way was short. */
  askClock(): () => void {
    const jumps = this.#jumps;
    const askedAt = this.#world.now;
    return () => {
      if (jumps !== this.#jumps) return;
      if (this.clockErrorMs > GOOD_ERROR_MS) this.clockRightSince = this.#world.now; // what was judged before was judged by a worse one
      this.clockErrorMs = Math.min(this.clockErrorMs, this.#world.now - askedAt);
    };
  }

  #faulty(until: number): void {
    this.lastFaultAt = Math.max(this.lastFaultAt, until);
  }

  /**
   * Asks the server. The answer comes in an event of the asking thread; from a process that is dead, never. Rejects
   * with LinkLost, or with what `work` threw.
   */
  ask<T>(what: string, work: () => Promise<T>): Promise<T> {
    const world = this.#world;
    const { chance } = world;
    const thread = world.current.getStore() ?? this.main;
    return new Promise<T>((resolve, reject) => {
      if (this.isDead) return;
      const lose = (sent: boolean, afterMs: number): void => {
        this.lastTroubleAt = Math.max(this.lastTroubleAt, world.now + afterMs);
        world.schedule(afterMs, thread, () => {
          world.note(`${what}: ${sent ? "answer lost" : "not sent"}`);
          reject(new LinkLost(sent));
        });
      };
      const answer = (settle: () => void): void => {
        if (this.#once(this.#faults.loss)) return lose(true, chance.between(0, this.#slowLossMs));
        if (this.isCut) return this.#throughCut((isLost) => (isLost ? lose(true, chance.between(0, 300)) : answer(settle)));
        world.schedule(this.#latency(), thread, () => {
          if (this.#once(this.#faults.death)) return this.kill(`as ${what} is answered`);
          settle();
        });
      };
      const arrive = (): void => {
        if (this.isDead && !this.#lastWords) return;
        if (this.isCut) return this.#throughCut((isLost) => (isLost ? lose(chance.one(2), 0) : arrive()));
        world.note(`${this.label} ${what}`);
        work().then(
          (value) => answer(() => resolve(value)),
          (error: unknown) => answer(() => reject(error)),
        );
      };
      if (this.#once(this.#faults.loss)) return lose(false, chance.between(0, this.#slowLossMs));
      if (this.#once(this.#faults.death)) {
        if (chance.one(2)) world.schedule(this.#latency(), undefined, arrive);
        return this.kill(`as it asks to ${what}`);
      }
      world.schedule(this.#latency(), undefined, arrive);
    });
  }

  /** A cut connection breaks after a while, or holds and is delivered late. */
  #throughCut(then: (isLost: boolean) => void): void {
    const { chance } = this.#world;
    if (chance.one(2)) this.#world.schedule(this.cutUntil - this.#world.now + chance.between(0, 50), undefined, () => then(false));
    else {
      const breaksAfterMs = chance.between(0, 3000); // maybe long after the cut has healed: who asked waits until then
      this.#faulty(this.#world.now + breaksAfterMs);
      this.#world.schedule(breaksAfterMs, undefined, () => then(true));
    }
  }

  /** A loss that shows later than that counts as a cut: one of them must not cost a lease of which a quarter has passed. */
  get #slowLossMs(): number {
    return 2.5 * this.#faults.slowestMs;
  }

  #latency(): number {
    const { chance } = this.#world;
    return chance.one(50) ? chance.between(0, this.#faults.slowestMs) : chance.between(0.1, 2);
  }

  #once(times: number): boolean {
    return times > 0 && this.#world.chance.one(times);
  }
}
