/** Which pool a worker's settings, or a task, ask for, and all that it needs. Celery's names stand for the nearest of ours. */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Lovage } from "../../app/app.ts";
import { ConfigurationError } from "../../app/errors.ts";
import type { Settings } from "../../app/settings.ts";
import type { PoolName } from "../../app/task-options.ts";
import type { Logger, LogLevel } from "../../shared/log.ts";
import { AsyncPool } from "./async-pool.ts";
import { ChildPool } from "./child-pool.ts";
import type { Pool } from "./pool.ts";
import { spawnProcess } from "./process-child.ts";
import { spawnThread } from "./thread-child.ts";

export interface PoolSetup {
  readonly app: Lovage;
  /** `celery@host`. */
  readonly worker: string;
  readonly logger: Logger;
  /** The module that makes the app, which children load. Default: the one that called `new Lovage()`. */
  readonly appModule: string | URL | undefined;
  /** Which of its exports is the app. */
  readonly appExport: string | undefined;
  /** Slots of the worker's own pool, where it was said. */
  readonly concurrency: number | undefined;
}

const ASYNC_SLOTS = 100;
const POOLS: Readonly<Record<Settings["workerPool"], PoolName>> = {
  async: "async",
  gevent: "async",
  eventlet: "async",
  solo: "async",
  threads: "threads",
  processes: "processes",
  prefork: "processes",
};

/** The pool of all tasks that name no other. @throws ConfigurationError */
export function makePrimaryPool(setup: PoolSetup): Pool {
  const { workerPool, workerConcurrency } = setup.app.settings;
  const slots = setup.concurrency ?? workerConcurrency ?? undefined;
  return makePool(POOLS[workerPool], setup, workerPool === "solo" ? 1 : slots);
}

/** @param slots default: 100 in the async pool, one a core in the others. @throws ConfigurationError */
export function makePool(kind: PoolName, setup: PoolSetup, slots?: number): Pool {
  const { app, logger } = setup;
  if (!NAMES.includes(kind))
    throw new ConfigurationError(`there is no pool named ${JSON.stringify(kind)}: a task may ask for ${NAMES.join(", ")}`);
  if (kind === "async") return new AsyncPool(slots ?? ASYNC_SLOTS, app.clock, app.hooks);
  const { workerMaxTasksPerChild, workerMaxMemoryPerChild, workerProcAliveTimeoutMs, workerLostWaitMs } = app.settings;
  return new ChildPool({
    kind,
    slots: slots ?? availableParallelism(),
    setup: {
      module: modulePath(kind, setup),
      exportName: setup.appExport,
      appName: app.name,
      handover: app.handover,
      worker: setup.worker,
      logLevels: LEVELS.filter((level) => logger.isLevelEnabled?.(level) ?? true),
      reportsMemory: workerMaxMemoryPerChild !== null,
    },
    spawn: kind === "threads" ? spawnThread : spawnProcess,
    maxTasks: workerMaxTasksPerChild ?? undefined,
    maxMemoryKib: workerMaxMemoryPerChild ?? undefined,
    aliveTimeoutMs: workerProcAliveTimeoutMs,
    lostWaitMs: workerLostWaitMs,
    clock: app.clock,
    random: app.random,
    logger,
  });
}

const NAMES: readonly PoolName[] = ["async", "threads", "processes"];
const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

function modulePath(kind: PoolName, { app, appModule }: PoolSetup): string {
  const given = appModule instanceof URL || appModule?.startsWith("file:") ? fileURLToPath(appModule) : appModule;
  const path = given === undefined ? app.files.module : resolve(given);
  if (path === undefined) {
    throw new ConfigurationError(
      `the pool of ${kind} cannot tell which module makes the app ${app.name}, and its ${kind} load that module to find the tasks. Say it: new Worker(app, { appModule: new URL("./app.js", import.meta.url) })`,
    );
  }
  if (!existsSync(path))
    throw new ConfigurationError(`the pool of ${kind} is to load the app ${app.name} from ${path}, which does not exist (appModule)`);
  return path;
}
