/** Runs one command line: words in, an exit code out. Everything that a process has is handed in, so that tests can run it. */
import type { Lovage } from "../app/app.ts";
import { parseArgv, type Invocation } from "./argv.ts";
import type { CommandContext, GlobalOptions } from "./command.ts";
import { errorLines, reportError } from "./error-report.ts";
import { UsageError } from "./errors.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { readGlobalOptions } from "./global-options.ts";
import { Output, type Sink } from "./output.ts";

export interface Surroundings {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  changeDirectory(path: string): void;
  /** Aborts when the user wants to stop. Asked for only by commands that want it. */
  interruption(): AbortSignal;
}

export async function runProgram(argv: readonly string[], around: Surroundings): Promise<ExitCode> {
  // Before anything is understood, an error is told as these words ask for it.
  const before = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : argv.length);
  let output = makeOutput(around, {
    json: before.includes("--json") || before.includes("-j"),
    quiet: false,
    color: !before.includes("--no-color") && !before.includes("-C"),
  });
  let traceback = before.includes("--traceback") || (around.env["LOVAGE_DEBUG"] ?? "") !== "";
  try {
    const parsed = await parseArgv(argv, output.colors, output.width);
    if (parsed.kind === "answer") {
      around.stdout.write(parsed.text);
      return EXIT.ok;
    }
    const globals = readGlobalOptions(parsed.globals, parsed.settings, around.env);
    output = makeOutput(around, globals);
    traceback = globals.traceback;
    if (globals.workdir !== undefined) changeDirectory(globals.workdir, around);
    return await runCommand(parsed, globals, output, around);
  } catch (error) {
    const report = reportError(error);
    around.stderr.write(errorLines(report, error, { json: output.json, traceback, colors: output.errorColors }));
    return report.exit;
  }
}

async function runCommand(parsed: Invocation, globals: GlobalOptions, output: Output, around: Surroundings): Promise<ExitCode> {
  const opened: Lovage[] = [];
  const context: CommandContext = {
    globals,
    output,
    env: around.env,
    get signal() {
      return around.interruption();
    },
    async openApp() {
      const [{ openApp }, { commandLogger }] = await Promise.all([import("./open-app.ts"), import("./command-log.ts")]);
      const app = await openApp(globals, commandLogger(output));
      opened.push(app);
      return app;
    },
  };
  try {
    return (await parsed.command.run(context, parsed.options, parsed.args)) ?? EXIT.ok;
  } finally {
    for (const app of opened) await app.close();
  }
}

function makeOutput(around: Surroundings, how: { readonly json: boolean; readonly quiet: boolean; readonly color: boolean }): Output {
  return new Output({ stdout: around.stdout, stderr: around.stderr, env: around.env, json: how.json, quiet: how.quiet, color: how.color });
}

function changeDirectory(path: string, around: Surroundings): void {
  try {
    around.changeDirectory(path);
  } catch (error) {
    throw new UsageError(`--workdir ${path}: ${(error as Error).message}`);
  }
}
