/** One thread or process, as a pool sees it: something to talk to that can be killed. */
import type { Clock } from "../../shared/clock.ts";
import type { FromChild, ToChild } from "./messages.ts";

export interface Child {
  /** For messages: `the process 4711`. */
  readonly label: string;
  /** @throws DataCloneError for what cannot cross. What is sent to one that is gone is dropped. */
  send(message: ToChild, transfer?: readonly ArrayBuffer[]): void;
  /** At once, whatever it does. */
  kill(): void;
}

export interface ChildEvents {
  message(message: FromChild): void;
  /** Exactly once. `how`: for people, such as `it was ended by SIGKILL`; `error`: what it died of, if that is known. */
  exited(how: string, error: unknown): void;
}

export interface SpawnSetup {
  readonly name: string;
  readonly clock: Clock;
  /** What a dead child had still said is waited for, at most that long. */
  readonly lostWaitMs: number;
}

export type SpawnChild = (setup: SpawnSetup, events: ChildEvents) => Child;

/** Options of Node for children: as this process has them, without those that would make a child something else. */
export function childExecArgv(execArgv: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < execArgv.length; i++) {
    const option = execArgv[i] as string;
    if (/^(?:-e|-p|-pe|--eval|--print)$/.test(option)) i++;
    else if (!/^(?:--(?:inspect|watch|test|input-type|eval=|print=|interactive)|-i$)/.test(option)) kept.push(option);
  }
  return kept;
}

/** Entries have this module's own ending: `.js` when built, `.ts` as source. */
export function entryUrl(name: string): URL {
  return new URL(`./${name}${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
}
