/** The parent of the worker processes: starts them, passes signals on, and says how it ended. Loads nothing of the user's. */
import { fork, type ChildProcess } from "node:child_process";
import { locateApp } from "../app/app-files.ts";
import { systemClock, systemRandom } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { type SupervisedStatus, Supervisor } from "../worker/supervisor.ts";
import { EXIT, isPermanent, type ExitCode } from "./exit-codes.ts";
import { warnOfZombies } from "./first-process.ts";
import { LineWriter, makeLogger } from "./log.ts";
import type { Output } from "./output.ts";
import { onSignals, readRemap, type SignalAsk } from "./signals.ts";
import { Systemd } from "./systemd.ts";
import { SystemdFollower } from "./systemd-follower.ts";
import { watchSources } from "./watch.ts";
import { encodePlan, INDEX_VARIABLE, PLAN_VARIABLE, type WorkerPlan } from "./worker-plan.ts";

/** In development nobody wants to wait for what runs. */
const WATCH_GRACE_MS = 2000;

const WORKER_FILE = new URL(`./worker-process${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

export async function superviseWorkers(plan: WorkerPlan, output: Output): Promise<ExitCode> {
  process.title = "lovage supervisor"; // also takes the arguments, a broker's password maybe among them, out of `ps`
  const termMeans = readRemap(process.env);
  const logger = await supervisorLog(plan, output);
  const systemd = Systemd.from({ env: process.env, pid: process.pid, clock: systemClock, logger });
  if (process.pid === 1) warnOfZombies(systemClock, logger);
  const running = new RunningWorkers(plan, logger);
  onSignals(systemClock, termMeans, (ask, signal) => running.pass(ask, signal));
  const follower = systemd && new SystemdFollower({ systemd, status: () => running.status(), clock: systemClock, logger });
  running.onChange = () => follower?.look();
  const code = await running.ended;
  follower?.end();
  await systemd?.end();
  return code;
}

/** Starts everything anew when a source file changes; a change that does not load is waited out. Ends at a signal. */
export async function superviseAndWatch(plan: WorkerPlan, appFile: string, output: Output): Promise<ExitCode> {
  process.title = "lovage supervisor";
  const logger = await supervisorLog(plan, output);
  const root = locateApp(appFile).root;
  let running: RunningWorkers | undefined;
  const ending = new AbortController();
  let wake = (): void => {};
  onSignals(systemClock, readRemap(process.env), (ask, signal) => {
    running?.pass(ask, signal);
    if (ask === "quiet" || ask === "resume") return;
    ending.abort();
    wake();
  });
  let changed: readonly string[] = [];
  const watching = await watchSources(root, {
    clock: systemClock,
    always: appFile,
    onChange(files) {
      changed = files;
      wake();
    },
  });
  logger.info({}, `watching ${root} for changes`);
  try {
    while (!ending.signal.aborted) {
      const change = new Promise<void>((resolve) => (wake = resolve));
      running = new RunningWorkers(changed.length === 0 ? plan : { ...plan, purge: false }, logger);
      const first = await Promise.race([change.then(() => "change" as const), running.ended]);
      if (ending.signal.aborted) return await running.ended;
      if (first !== "change") {
        logger.warn({}, "waiting for a change of a source file before it is started again");
        await change;
        if (ending.signal.aborted) return EXIT.ok;
      } else {
        running.pass("warm", "SIGTERM");
        const late = systemClock.timer(WATCH_GRACE_MS, () => running?.pass("soft", "SIGQUIT"));
        await running.ended;
        late.cancel();
      }
      logger.info({}, `starting again: ${summary(changed)} changed`);
    }
    return EXIT.ok;
  } finally {
    watching.close();
  }
}

/** One set of worker processes, from their start until the last one is gone. */
class RunningWorkers {
  readonly ended: Promise<ExitCode>;
  onChange: () => void = () => undefined;
  readonly #supervisor: Supervisor;
  #isFirst = true;
  #permanent: ExitCode | undefined;

  constructor(plan: WorkerPlan, logger: Logger) {
    this.#supervisor = new Supervisor({
      processes: plan.processes,
      spawn: (index, { quiet }) => this.#spawn({ ...plan, quiet }, index),
      clock: systemClock,
      random: systemRandom,
      logger,
      onChange: () => this.onChange(),
    });
    this.ended = this.#supervisor.finished.then((code) => this.#permanent ?? (code === 0 ? EXIT.ok : EXIT.failure));
    this.#supervisor.start();
  }

  pass(ask: SignalAsk, signal: NodeJS.Signals): void {
    this.#supervisor.pass(ask, signal);
  }

  status(): SupervisedStatus {
    return this.#supervisor.status();
  }

  #spawn(plan: WorkerPlan, index: number): ChildProcess {
    const purge = plan.purge && index === 0 && this.#isFirst; // a process that is started again must not discard what came in meanwhile
    this.#isFirst = false;
    const env = { ...process.env, [PLAN_VARIABLE]: encodePlan({ ...plan, purge }), [INDEX_VARIABLE]: String(index) };
    const child = fork(WORKER_FILE, [], { env });
    // On Windows a signal ends a process at once; losing its parent is what it stops warm at.
    if (process.platform === "win32") child.kill = () => (child.disconnect(), true);
    child.once("exit", (code) => {
      if (code === null || !isPermanent(code)) return;
      this.#permanent = code as ExitCode; // the child is one of ours and exits with our codes
      this.#supervisor.pass("warm", "SIGTERM"); // it would fail the same way again, and so would the others
    });
    return child;
  }
}

async function supervisorLog(plan: WorkerPlan, output: Output): Promise<Logger> {
  const lines = new LineWriter((text) => void process.stderr.write(text));
  process.on("exit", () => lines.flush());
  return makeLogger({ ...plan.log, process: "Supervisor", colors: output.errorColors, lines, clock: systemClock });
}

function summary(files: readonly string[]): string {
  const [first = "a file", ...rest] = files;
  return rest.length === 0 ? first : `${first} and ${rest.length} more`;
}
