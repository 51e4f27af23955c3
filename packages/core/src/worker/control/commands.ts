/**
 * The commands that a worker answers, by the names and with the answers of Celery's (celery/worker/control.py,
 * celery-protocol.md 11). `quiet` and `resume` are ours. A command that is not here is answered as Celery answers it.
 */
import { type Command, NO_ANSWER } from "./command.ts";
import { rateLimit } from "./rate-command.ts";
import { revoke, revokeByStampedHeaders, terminate } from "./revoke-commands.ts";
import { hello, revoked } from "./revoked-commands.ts";

const ping: Command = { run: () => ({ ok: "pong" }) };

const clock: Command = { run: ({ lamport }) => ({ clock: lamport.value }) };

const shutdown: Command = {
  run(node, { msg }) {
    node.logger.warn({ worker: node.name }, typeof msg === "string" ? msg.slice(0, 200) : "Got shutdown from remote");
    node.shutdown();
    return NO_ANSWER;
  },
};

const quiet: Command = {
  run(node) {
    node.quiet();
    return { ok: "takes no more tasks" };
  },
};

const resume: Command = {
  run(node) {
    node.resume();
    return { ok: "takes tasks" };
  },
};

/** Ours. The broker knows what was set: this only says that it is time to look. */
const limitsChanged: Command = {
  run(node) {
    node.limitsChanged();
    return { ok: "reads the limits" };
  },
};

export const COMMANDS: ReadonlyMap<string, Command> = new Map(
  Object.entries({
    ping,
    clock,
    revoke,
    terminate,
    revoke_by_stamped_headers: revokeByStampedHeaders,
    revoked,
    dump_revoked: revoked,
    hello,
    rate_limit: rateLimit,
    limits_changed: limitsChanged,
    shutdown,
    quiet,
    resume,
  }),
);
