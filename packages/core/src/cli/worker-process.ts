/**
 * A worker process: the child that `lovage worker` starts, once for each of `--processes`. It loads the user's app and
 * runs one Worker until it is told to stop, or until its parent is gone.
 */
import pc from "picocolors";
import type { Lovage } from "../app/app.ts";
import { systemClock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import type { Worker } from "../worker/worker.ts";
import type { WorkerOptions } from "../worker/worker-options.ts";
import type { StopHow } from "../worker/life.ts";
import { SupervisorLink } from "../worker/supervisor-link.ts";
import { resolveAppArgument } from "./app-argument.ts";
import { errorLines, reportError } from "./error-report.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { LineWriter, makeLogger, openLogFile } from "./log.ts";
import { openApp } from "./open-app.ts";
import { wantsColor } from "./output.ts";
import { weightsOf } from "./queue-options.ts";
import { onSignals, readRemap } from "./signals.ts";
import { lovageVersion } from "./version.ts";
import { processName, processTitle, takePlan, type WorkerPlan } from "./worker-plan.ts";

/** After an uncaught error, giving back what is held may take so long. */
const CRASH_GRACE_MS = 5000;

const taken = takePlan(process.env);
if (taken === undefined) {
  process.stderr.write("error: this file is started by `lovage worker`\n");
  process.exit(EXIT.usage);
}
process.exit(await runWorker(taken.plan, taken.index));

async function runWorker(how: WorkerPlan, index: number): Promise<ExitCode> {
  const lines = new LineWriter(openSink(how, index));
  process.on("exit", () => lines.flush());
  const colors = pc.createColors(how.log.file === undefined && wantsColor(process.stderr, { color: how.log.color, env: process.env }));
  const title = processTitle(index, how.processes);
  const logger = await makeLogger({ format: how.log.format, level: how.log.level, process: title, colors, lines, clock: systemClock });
  let app: Lovage | undefined;
  try {
    const stop = stopWhenToldTo(logger, title);
    app = await openApp(how.globals, logger);
    const { Worker } = await import("../worker/worker.ts");
    let link: SupervisorLink | undefined;
    const worker = new Worker(app, { ...workerOptions(how, index, app), onState: () => link?.tell() });
    process.title = `lovage worker ${worker.name}`;
    stop.attach(worker);
    stopOnUncaughtErrors(worker, logger);
    if (index === 0 && how.log.format === "human" && !how.globals.quiet) {
      // Connected, and the tasks are known; nothing has been taken yet.
      app.onWorkerStart(() => process.stdout.write(`\n${worker.banner(lovageVersion()).join("\n")}\n\n`));
    }
    link = linkToSupervisor(app, worker, () => stop.now("warm"));
    await worker.start();
    await worker.finished;
    await link.end();
    return EXIT.ok;
  } catch (error) {
    lines.flush();
    const report = reportError(error);
    if (how.log.format === "json") logger.error({ err: error, code: report.code }, report.message);
    else process.stderr.write(errorLines(report, error, { json: false, traceback: how.globals.traceback, colors }));
    return report.exit;
  } finally {
    await app?.close();
    lines.flush();
  }
}

function workerOptions(how: WorkerPlan, index: number, { settings, calls }: Lovage): ConstructorParameters<typeof Worker>[1] {
  const name = processName(how.name, index, how.processes);
  const target = how.globals.app === undefined ? undefined : resolveAppArgument(how.globals.app, process.cwd());
  const port = settings.workerHealthPort;
  return {
    quiet: how.quiet,
    ...(port ? { healthPort: port + index } : {}), // each process answers for itself
    ...(target === undefined ? {} : { appModule: target.file }),
    ...(target?.exportName === undefined ? {} : { appExport: target.exportName }),
    ...(how.autoscale === undefined ? {} : { autoscale: how.autoscale }),
    ...(name === undefined ? {} : { name }),
    ...(how.queues === undefined
      ? {}
      : chosenQueues(
          how.queues,
          calls.routing.declared.map((queue) => queue.name),
        )),
    ...(how.capsules === undefined ? {} : { capsules: how.capsules }),
    ...(how.excludeQueues === undefined ? {} : { excludeQueues: how.excludeQueues }),
    ...(how.concurrency === undefined ? {} : { concurrency: how.concurrency }),
    purge: how.purge,
  };
}

function chosenQueues(names: readonly string[], declared: readonly string[]): Pick<WorkerOptions, "queues" | "queueOrder"> {
  const weights = weightsOf(names, declared);
  return weights ? { queues: [...weights.keys()], queueOrder: Object.fromEntries(weights) } : { queues: names };
}

function openSink({ log, processes }: WorkerPlan, index: number): (text: string) => void {
  if (log.file === undefined) return (text) => void process.stderr.write(text);
  const file = openLogFile(log.file.replaceAll("%i", String(processes === 1 ? 0 : index + 1)).replaceAll("%p", String(process.pid)));
  return (text) => file.write(text);
}

function linkToSupervisor(app: Lovage, worker: Worker, orphaned: () => void): SupervisorLink {
  const { shutdownGraceMs: graceMs, workerSoftShutdownTimeoutMs: softMs, workerBlockedKillMs } = app.settings;
  const limits = { graceMs, softMs, blockedMs: workerBlockedKillMs ?? undefined };
  const report = (): ReturnType<ConstructorParameters<typeof SupervisorLink>[0]["report"]> => {
    const { state, consuming, running } = worker.status();
    return { state, isConsuming: consuming, running, limits };
  };
  return new SupervisorLink({ parent: process, clock: systemClock, report, orphaned });
}

/** Signals that come before the worker is made stop it as soon as it is there. */
function stopWhenToldTo(logger: Logger, title: string): { attach(worker: Worker): void; now(how: StopHow): void } {
  let worker: Worker | undefined;
  let asked: StopHow | undefined;
  let isQuiet: boolean | undefined;
  const stop = (how: StopHow): void => {
    asked = how;
    void worker?.stop(how);
  };
  onSignals(systemClock, readRemap(process.env), (ask, signal) => {
    if (ask === "quiet" || ask === "resume") {
      isQuiet = ask === "quiet";
      logger.info({ signal }, `worker: ${isQuiet ? "Quiet" : "Resume"} (${title}), ${signal} received`);
      return void (isQuiet ? worker?.quiet() : worker?.resume());
    }
    stop(ask);
    const state = worker?.status().state ?? ask;
    const more = state === "cold" ? "" : "; once more ends the tasks that run";
    logger.info({ signal }, `worker: ${state.charAt(0).toUpperCase()}${state.slice(1)} shutdown (${title}), ${signal} received${more}`);
  });
  return {
    now: stop,
    attach(made) {
      worker = made;
      if (isQuiet !== undefined) void (isQuiet ? made.quiet() : made.resume());
      if (asked) void made.stop(asked);
    },
  };
}

function stopOnUncaughtErrors(worker: Worker, logger: Logger): void {
  // A promise that somebody forgot says nothing about the other tasks that run here.
  process.on("unhandledRejection", (reason) => logger.error({ err: reason }, "a promise was rejected and nobody handled it"));
  process.on("uncaughtException", (error) => {
    logger.error({ err: error }, "an error was thrown outside of any task: this process gives its messages back and ends");
    systemClock.timer(CRASH_GRACE_MS, () => process.exit(EXIT.failure));
    void stopAndExit(worker);
  });
}

async function stopAndExit(worker: Worker): Promise<never> {
  await worker.stop("cold").catch(() => undefined); // it ends in any case, and what it cannot give back is swept
  process.exit(EXIT.failure);
}
