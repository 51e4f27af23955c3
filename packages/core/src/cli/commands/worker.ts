/** `lovage worker`: runs tasks, in worker processes that a supervisor starts and restarts. */
import { availableParallelism } from "node:os";
import { acceptedOptions, acceptedRemarks, checkRefused, POOLS, refusedOptions } from "../celery-worker-options.ts";
import { defineCommand } from "../command.ts";
import { UsageError } from "../errors.ts";
import { LOG_LEVELS, type LogFormat, type LogLevelName } from "../log.ts";
import { choice, decimal, durationMs, flag, names, range, text, wholeNumber } from "../option-kinds.ts";
import { capsules } from "../queue-options.ts";
import type { WorkerPlan } from "../worker-plan.ts";

const ORDERS = ["fair", "strict"] as const;
const FORMATS = ["human", "json"] as const;

export const worker = defineCommand({
  options: {
    queues: names(
      "-Q, --queues <names>",
      "consume these queues, separated by commas; with weights: mail:6,bulk:1 (default: those of the app)",
    ),
    queueOrder: choice("--queue-order <order>", "fair: in equal shares (default); strict: each queue before those after it", ORDERS),
    capsules: capsules("--capsule <capsule>", "queues with slots of their own, such as pdf=pdf,thumbs@2; once for each"),
    exclude: names("-X, --exclude-queues <names>", "do not consume these"),
    concurrency: wholeNumber(
      "-c, --concurrency <number>",
      "tasks that run at once in each worker (default: 100 with -P async, else one a core)",
      1,
      100_000,
    ),
    processes: wholeNumber(
      "--processes <number>",
      `worker processes; this machine has ${availableParallelism()} cores (default: 1)`,
      1,
      1024,
    ),
    pool: choice("-P, --pool <pool>", "where tasks run: on the event loop (default), or in threads or processes of the worker", POOLS),
    autoscale: range("--autoscale <max,min>", "between so many tasks at once, as the load asks for; takes the place of -c"),
    maxTasksPerChild: wholeNumber("--max-tasks-per-child <number>", "replace a thread or process of the pool after so many tasks", 1),
    maxMemoryPerChild: wholeNumber("--max-memory-per-child <kib>", "replace one that is larger than this after a task", 1),
    name: text("-n, --hostname <name>", "name of this worker, such as mail@%h: %h host, %n name, %d domain, %i number of the process"),
    level: choice("-l, --loglevel <level>", "least level that is logged (default: info; env: LOVAGE_LOG_LEVEL)", LOG_LEVELS),
    logFormat: choice("--log-format <format>", "lines for people, or JSON (default: human; env: LOVAGE_LOG_FORMAT)", FORMATS),
    logfile: text("-f, --logfile <file>", "log to this file: %i number of the process, %p its id (default: standard error)", {
      completes: "file",
    }),
    purge: flag("--purge", "first discard what waits in the queues"),
    include: names("-I, --include <modules>", "modules with tasks to load, relative to the app's module"),
    prefetchMultiplier: decimal("--prefetch-multiplier <number>", "messages on loan, in multiples of the concurrency"),
    timeLimitMs: durationMs("--time-limit <duration>", "hard limit of tasks that have none of their own"),
    softTimeLimitMs: durationMs("--soft-time-limit <duration>", "soft limit of tasks that have none of their own"),
    healthPort: wholeNumber(
      "--health-port <port>",
      "answer /livez, /readyz and /metrics here; with --processes each takes the next port (default: not at all)",
      0,
      65_535,
    ),
    healthHost: text("--health-host <address>", "listen for that on this address (default: 127.0.0.1)"),
    watch: flag("--watch", "restart when a source file changes: for development"),
    ...acceptedOptions(),
    ...refusedOptions(),
  },
  arguments: [],
  examples: [
    "lovage -A ./src/app.ts worker",
    "lovage -A ./src/app.ts worker -Q mail,celery -c 20 -l warning",
    "lovage -A ./src/app.ts worker -P processes --autoscale 8,2",
    "lovage -A ./src/app.ts worker -Q critical:6,default:3,low:1 --capsule pdf=pdf@2",
    "lovage -A ./src/app.ts worker --watch",
  ],
  async run({ globals, output, env }, options) {
    if (globals.app === undefined)
      throw new UsageError("no app given: a worker needs the module with your tasks", "-A ./src/app.ts worker, or set LOVAGE_APP");
    checkRefused(options);
    for (const remark of acceptedRemarks(options)) output.note(remark);
    const plan: WorkerPlan = {
      globals: { ...globals, settings: { ...settingsOf(options), ...globals.settings } },
      name: options.name,
      queues: options.queues,
      capsules: options.capsules,
      excludeQueues: options.exclude,
      concurrency: options.concurrency,
      autoscale: options.autoscale,
      purge: options.purge,
      processes: options.processes ?? 1,
      quiet: false,
      log: {
        format: options.logFormat ?? fromEnvironment<LogFormat>(env, "LOVAGE_LOG_FORMAT", FORMATS) ?? (globals.json ? "json" : "human"),
        level: options.level ?? fromEnvironment<LogLevelName>(env, "LOVAGE_LOG_LEVEL", LOG_LEVELS) ?? "info",
        file: options.logfile,
        color: globals.color,
      },
    };
    const { resolveAppArgument } = await import("../app-argument.ts");
    const { file } = resolveAppArgument(globals.app, process.cwd()); // a mistyped path is told before anything is started
    const { superviseWorkers, superviseAndWatch } = await import("../supervise.ts");
    return options.watch ? superviseAndWatch(plan, file, output) : superviseWorkers(plan, output);
  },
});

interface SettingOptions {
  readonly queueOrder: string | undefined;
  readonly pool: string | undefined;
  readonly maxTasksPerChild: number | undefined;
  readonly maxMemoryPerChild: number | undefined;
  readonly prefetchMultiplier: number | undefined;
  readonly timeLimitMs: number | undefined;
  readonly softTimeLimitMs: number | undefined;
  readonly healthPort: number | undefined;
  readonly healthHost: string | undefined;
  readonly disablePrefetch: boolean;
  readonly include: readonly string[] | undefined;
}

/** Options that are settings under another name; what stands after `--` wins over them. */
function settingsOf(options: SettingOptions): Readonly<Record<string, string>> {
  const given: Readonly<Record<string, string | undefined>> = {
    worker_pool: options.pool,
    worker_queue_order: options.queueOrder,
    worker_max_tasks_per_child: options.maxTasksPerChild?.toString(),
    worker_max_memory_per_child: options.maxMemoryPerChild?.toString(),
    worker_prefetch_multiplier: options.prefetchMultiplier?.toString(),
    task_time_limit: inMs(options.timeLimitMs),
    task_soft_time_limit: inMs(options.softTimeLimitMs),
    worker_health_port: options.healthPort?.toString(),
    worker_health_host: options.healthHost,
    worker_disable_prefetch: options.disablePrefetch ? "true" : undefined,
    include: options.include?.join(","),
  };
  return Object.fromEntries(Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function inMs(duration: number | undefined): string | undefined {
  return duration === undefined ? undefined : `${duration}ms`;
}

function fromEnvironment<T extends string>(
  env: Readonly<Record<string, string | undefined>>,
  name: string,
  accepted: readonly T[],
): T | undefined {
  const value = env[name];
  if (value === undefined || value === "") return undefined;
  const found = accepted.find((each) => each === value.toLowerCase());
  if (found === undefined) throw new UsageError(`${name} is "${value}"`, `it takes one of ${accepted.join(", ")}`);
  return found;
}
