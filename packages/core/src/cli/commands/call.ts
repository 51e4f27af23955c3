/** `lovage call`: sends a task by its name, whether or not a worker is there. */
import { PRIORITY_FIRST, PRIORITY_LAST } from "../../app/priority.ts";
import type { CallOptions } from "../../app/call-options.ts";
import { defineCommand } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { durationMs, flag, json, readDate, readWhen, text, wholeNumber } from "../option-kinds.ts";

export const call = defineCommand({
  options: {
    args: json("-a, --args <json>", "positional arguments, as a JSON array", "an array"),
    kwargs: json("-k, --kwargs <json>", "named arguments, as a JSON object", "an object"),
    countdownMs: durationMs("--countdown <duration>", "not before this much time has passed: 10, 90s, 15m"),
    eta: { flags: "--eta <time>", description: "not before this time, in ISO 8601", parse: readDate },
    expires: { flags: "--expires <when>", description: "not after this: a duration, or a time in ISO 8601", parse: readWhen },
    queue: text("--queue <name>", "queue to put it in, instead of the one it is routed to"),
    exchange: text("--exchange <name>", "exchange to publish to"),
    routingKey: text("--routing-key <key>", "routing key to publish with"),
    fairKey: text("--fair-key <key>", "under which it shares its queue with others, where that is fair"),
    priority: wholeNumber("--priority <number>", "0 to 9; 0 is served first", PRIORITY_FIRST, PRIORITY_LAST),
    serializer: text("--serializer <name>", "json, yaml or msgpack"),
    compression: text("--compression <name>", "gzip, zlib, brotli or zstd"),
    taskId: text("--task-id <id>", "id to give it, instead of a fresh one"),
    wait: flag("--wait", "wait for the result and print it instead of the id"),
    timeoutMs: durationMs("--timeout <duration>", "with --wait: give up after this time (default: the setting result_timeout)"),
  },
  arguments: [{ name: "task", description: "name of the task, such as shop.add", required: true }],
  examples: [
    "lovage -A ./src/app.ts call shop.add -a '[2, 3]'",
    "lovage -b redis://127.0.0.1:6379/0 call shop.add -a '[2, 3]' --wait",
    `lovage call reports.make -k '{"year": 2026}' --countdown 15m --queue long`,
  ],
  async run(context, options, [task]) {
    const app = await context.openApp();
    if (options.wait) await (await import("../reach.ts")).reachBackend(app); // before anything is sent
    const { args, kwargs, countdownMs, eta, expires, wait, timeoutMs, ...rest } = options;
    const callOptions: Record<string, unknown> = {
      ...rest,
      countdown: countdownMs === undefined ? undefined : countdownMs / 1000,
      eta,
      expires: expires === undefined ? undefined : "at" in expires ? expires.at : expires.afterMs / 1000,
    };
    for (const key of Object.keys(callOptions)) if (callOptions[key] === undefined) delete callOptions[key];
    const { decodeJson } = await import("../../protocol/json.ts");
    const positional = args === undefined ? [] : (decodeJson(args) as unknown[]); // the options' parser saw that it is an array
    const named = kwargs === undefined ? undefined : (decodeJson(kwargs) as Record<string, unknown>); // and that this is an object
    const sent = await app.sendTask(task, positional, named, callOptions as CallOptions);
    if (wait) {
      context.output.note(`sent ${task} as ${sent.id}, waiting for its result`);
      const { printResult } = await import("../print-result.ts");
      return printResult(context, app, sent, timeoutMs);
    }
    context.output.answer({ id: sent.id, task }, () => sent.id);
    return EXIT.ok;
  },
});
