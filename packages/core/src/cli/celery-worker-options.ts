/**
 * Options of `celery worker` that need no code here, or that this worker does not have: each says in one line what
 * becomes of it, so that a command line brought over from Celery either works or says what to write instead.
 */
import type { OptionSpec } from "./command.ts";
import { UsageError } from "./errors.ts";
import { flag, text } from "./option-kinds.ts";

/** Accepted. The sentence is said once at the start. */
export const ACCEPTED = {
  beat: {
    option: flag("-B, --beat", "there is no scheduler in this version"),
    says: "-B: this version has no scheduler, so nothing is sent on schedule by this worker",
  },
  taskEvents: {
    option: flag("-E, --task-events", "events are not sent in this version"),
    says: "-E: this version sends no events of tasks",
  },
  optimization: {
    option: text("-O, --optimization <profile>", "it is always fair"),
    says: "-O: has no effect, a worker takes only what it has free slots for, which is what `fair` asks for",
  },
  withoutGossip: {
    option: flag("--without-gossip", "there is no gossip"),
    says: "--without-gossip: has no effect, workers here do not gossip",
  },
  withoutMingle: {
    option: flag("--without-mingle", "there is no mingling"),
    says: "--without-mingle: has no effect, workers here do not ask each other at their start",
  },
  withoutHeartbeat: {
    option: flag("--without-heartbeat", "leases are kept all the same"),
    says: "--without-heartbeat: has no effect, no heartbeat events are sent; the lease on this worker's messages is always kept",
  },
  heartbeatInterval: {
    option: text("--heartbeat-interval <seconds>", "no heartbeat events are sent"),
    says: "--heartbeat-interval: has no effect, no heartbeat events are sent",
  },
  statedb: {
    option: text("-S, --statedb <file>", "the broker remembers what is revoked"),
    says: "-S: has no effect, the broker remembers revoked tasks for all workers (revocation_ttl), and no file does",
  },
  disablePrefetch: { option: flag("--disable-prefetch", "the same as the setting worker_disable_prefetch"), says: undefined },
} satisfies Readonly<Record<string, { readonly option: OptionSpec<unknown>; readonly says: string | undefined }>>;

/** Refused, with what to do instead. Not shown in help. */
const REFUSED = {
  detach: refused("-D, --detach", "run it under systemd, a container or another service manager, which also restarts it"),
  pidfile: refused("--pidfile <file>", "a service manager knows the process; for one by hand write `lovage ... worker & echo $!`"),
  uid: refused("--uid <user>", "start it as that user: User= of systemd, USER of a container"),
  gid: refused("--gid <group>", "start it with that group: Group= of systemd"),
  umask: refused("--umask <mask>", "set it where it is started: UMask= of systemd"),
  executable: refused("--executable <file>", "start it with the node that is to run it"),
  schedule: refused("-s, --schedule <file>", "this version has no scheduler"),
  scheduler: refused("--scheduler <name>", "this version has no scheduler"),
} satisfies Readonly<Record<string, Refused>>;

const ACCEPTED_GROUP = "Options of Celery's worker that change little here";

/** Ours and Celery's: prefork stands for processes, gevent and eventlet for async, solo for async with one slot. */
export const POOLS = ["async", "gevent", "eventlet", "solo", "prefork", "processes", "threads"] as const;

export function acceptedRemarks(options: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(ACCEPTED).flatMap(([key, { says }]) =>
    says !== undefined && options[key] !== undefined && options[key] !== false ? [says] : [],
  );
}

export function acceptedOptions(): { readonly [Key in keyof typeof ACCEPTED]: (typeof ACCEPTED)[Key]["option"] } {
  return Object.fromEntries(Object.entries(ACCEPTED).map(([key, { option }]) => [key, { ...option, group: ACCEPTED_GROUP }])) as never; // the same keys, with the options themselves
}

interface Refused {
  readonly option: OptionSpec<unknown>;
  readonly instead: string;
}

function refused(flags: string, instead: string): Refused {
  const make = flags.includes("<") ? text : flag;
  return { option: make(flags, instead, { hidden: true }), instead };
}

export function refusedOptions(): { readonly [Key in keyof typeof REFUSED]: OptionSpec<unknown> } {
  return Object.fromEntries(Object.entries(REFUSED).map(([key, { option }]) => [key, option])) as never; // the same keys
}

/** @throws UsageError for the first option that is here only to be refused */
export function checkRefused(options: Readonly<Record<string, unknown>>): void {
  for (const [key, { option, instead }] of Object.entries<Refused>(REFUSED)) {
    if (options[key] === undefined || options[key] === false) continue;
    throw new UsageError(`${option.flags} is an option of Celery's worker that is not there in Lovage's`, instead);
  }
}
