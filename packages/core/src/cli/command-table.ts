/**
 * The commands. One line and one file in `commands/` each: help, dispatch and shell completion follow from here.
 * A command's file is loaded when it is run or asked for help.
 */
import type { Command } from "./command.ts";

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** Heading of the list it stands in. */
  readonly group: "Run" | "Tasks" | "Look" | "Tools";
  load(): Promise<Command>;
}

export const COMMANDS: readonly CommandEntry[] = [
  { name: "worker", group: "Run", summary: "run tasks", load: async () => (await import("./commands/worker.ts")).worker },
  { name: "call", group: "Tasks", summary: "send a task and print its id", load: async () => (await import("./commands/call.ts")).call },
  {
    name: "result",
    group: "Tasks",
    summary: "print what a task returned",
    load: async () => (await import("./commands/result.ts")).result,
  },
  {
    name: "queues",
    group: "Look",
    summary: "count the messages in queues",
    load: async () => (await import("./commands/queues.ts")).queues,
  },
  {
    name: "fairness",
    group: "Look",
    summary: "show the keys of a fair queue; weights, limits, pauses",
    load: async () => (await import("./commands/fairness.ts")).fairness,
  },
  {
    name: "unique",
    group: "Look",
    summary: "show who holds the locks of unique tasks, or break one",
    load: async () => (await import("./commands/unique.ts")).unique,
  },
  {
    name: "purge",
    group: "Look",
    summary: "discard the messages in queues",
    load: async () => (await import("./commands/purge.ts")).purge,
  },
  {
    name: "dlq",
    group: "Look",
    summary: "look at dead letters, or run them again",
    load: async () => (await import("./commands/dlq.ts")).dlq,
  },
  {
    name: "workflow",
    group: "Look",
    summary: "show and repair chains, groups, chords and batches",
    load: async () => (await import("./commands/workflow.ts")).workflow,
  },
  {
    name: "parked",
    group: "Look",
    summary: "return parked messages to their queues",
    load: async () => (await import("./commands/parked.ts")).parked,
  },
  {
    name: "limits",
    group: "Look",
    summary: "show or change what all workers together allow",
    load: async () => (await import("./commands/limits.ts")).limits,
  },
  {
    name: "loans",
    group: "Look",
    summary: "show or give back what workers hold",
    load: async () => (await import("./commands/loans.ts")).loans,
  },
  {
    name: "outbox",
    group: "Run",
    summary: "publish what transactions have left in a database",
    load: async () => (await import("./commands/outbox.ts")).outbox,
  },
  {
    name: "control",
    group: "Look",
    summary: "revoke tasks; quiet, resume, stop workers",
    load: async () => (await import("./commands/control.ts")).control,
  },
  {
    name: "inspect",
    group: "Look",
    summary: "ask workers: ping, revoked, clock",
    load: async () => (await import("./commands/inspect.ts")).inspect,
  },
  {
    name: "retry-preview",
    group: "Look",
    summary: "print after which delays a task is retried",
    load: async () => (await import("./commands/retry-preview.ts")).retryPreview,
  },
  {
    name: "config",
    group: "Look",
    summary: "print settings, and where they come from",
    load: async () => (await import("./commands/config.ts")).config,
  },
  {
    name: "report",
    group: "Look",
    summary: "print versions and settings for a bug report",
    load: async () => (await import("./commands/report.ts")).report,
  },
  { name: "version", group: "Tools", summary: "print versions", load: async () => (await import("./commands/version.ts")).version },
  {
    name: "completion",
    group: "Tools",
    summary: "print a completion script for your shell",
    load: async () => (await import("./commands/completion.ts")).completion,
  },
];
