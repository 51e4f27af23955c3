/**
 * What a command is: its options and arguments as data, and a function. `program.ts` makes commander commands of it,
 * `completion/` shell scripts; `commands/` holds one file for each. Importing a command file must be cheap: what is
 * heavy (the app, drivers, the worker) is imported inside `run`.
 */
import type { Lovage } from "../app/app.ts";
import type { ExitCode } from "./exit-codes.ts";
import type { Output } from "./output.ts";

/** One option. The type parameter is what `run` receives. */
export interface OptionSpec<T> {
  /** Commander's notation: `-Q, --queues <names>`. */
  readonly flags: string;
  readonly description: string;
  /** `before`: what it was parsed to earlier on the same line; for an option that may be given several times. */
  readonly parse?: (text: string, before?: unknown) => T;
  readonly choices?: readonly string[];
  readonly hidden?: boolean;
  /** Heading it stands under in help. */
  readonly group?: string;
  /** For shells: the value is a file or directory. */
  readonly completes?: "file" | "directory";
}

export interface ArgumentSpec {
  readonly name: string;
  readonly description: string;
  readonly required: boolean;
  readonly choices?: readonly string[];
  /** Any number of words. Only for the last one. */
  readonly variadic?: boolean;
}

/** What was given for one argument; a list for a variadic one. */
export type ArgumentValue = string | undefined | readonly string[];

type OptionTable = Readonly<Record<string, OptionSpec<unknown>>>;
type ValuesOf<Options extends OptionTable> = { readonly [Key in keyof Options]: Options[Key] extends OptionSpec<infer T> ? T : never };
type ArgumentsOf<Arguments extends readonly ArgumentSpec[]> = {
  readonly [Index in keyof Arguments]: Arguments[Index]["variadic"] extends true
    ? readonly string[]
    : Arguments[Index]["required"] extends true
      ? string
      : string | undefined;
};

/** A command as its file writes it, typed by its own options and arguments. */
export interface CommandSpec<Options extends OptionTable, Arguments extends readonly ArgumentSpec[]> {
  readonly options: Options;
  readonly arguments: Arguments;
  /** Shown below the help. */
  readonly examples?: readonly string[];
  run(context: CommandContext, options: ValuesOf<Options>, args: ArgumentsOf<Arguments>): Promise<ExitCode | void>;
}

/** A command as the program sees it. */
export interface Command {
  readonly options: OptionTable;
  readonly arguments: readonly ArgumentSpec[];
  readonly examples: readonly string[];
  run(context: CommandContext, options: Readonly<Record<string, unknown>>, args: readonly ArgumentValue[]): Promise<ExitCode | void>;
}

/** What every command may use; made by `program.ts`. */
export interface CommandContext {
  readonly globals: GlobalOptions;
  readonly output: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts at Ctrl+C. `worker` does not use it: it has its own rules for signals. */
  readonly signal: AbortSignal;
  /** Loads the module of `-A`, or makes an app from environment and options when none is named. Closed after `run`. */
  openApp(): Promise<Lovage>;
}

/** Given before or after the command's name. */
export interface GlobalOptions {
  readonly app: string | undefined;
  /** As Celery's: `key=value` pairs after `--`, and -b, --result-backend as the settings they are. */
  readonly settings: Readonly<Record<string, string>>;
  readonly configFile: string | undefined;
  readonly workdir: string | undefined;
  readonly color: boolean;
  readonly quiet: boolean;
  readonly json: boolean;
  readonly traceback: boolean;
}

export function defineCommand<const Options extends OptionTable, const Arguments extends readonly ArgumentSpec[]>(
  spec: CommandSpec<Options, Arguments>,
): Command {
  return {
    options: spec.options,
    arguments: spec.arguments,
    examples: spec.examples ?? [],
    // `program.ts` reads the values by the same keys and with the same parsers, so they have these types.
    run: async (context, options, args) => spec.run(context, options as ValuesOf<Options>, args as ArgumentsOf<Arguments>),
  };
}
