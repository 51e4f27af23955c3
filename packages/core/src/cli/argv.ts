/** From words to the command that they name, with typed values. Commander does the reading; the table says what there is. */
import { Argument, Command as CommanderCommand, CommanderError, Option } from "commander";
import type { ArgumentSpec, ArgumentValue, Command, OptionSpec } from "./command.ts";
import { COMMANDS, type CommandEntry } from "./command-table.ts";
import { UsageError } from "./errors.ts";
import { GLOBAL_OPTIONS } from "./global-options.ts";
import type { Colors } from "./output.ts";
import { lovageVersion } from "./version.ts";

export type ParsedArgv = Invocation | Answer;

export interface Invocation {
  readonly kind: "run";
  readonly command: Command;
  readonly options: Values;
  readonly args: readonly ArgumentValue[];
  readonly globals: Values;
  /** What stood after `--`. */
  readonly settings: readonly string[];
}

/** Help or the version: complete as it is. */
export interface Answer {
  readonly kind: "answer";
  readonly text: string;
}

export type Values = Readonly<Record<string, unknown>>;

/** @throws UsageError */
export async function parseArgv(argv: readonly string[], colors: Colors, width: number | undefined): Promise<ParsedArgv> {
  const { words, settings } = splitSettings(argv);
  let text = "";
  const program = makeProgram(colors, width, (part) => (text += part));
  let parsed: ParsedArgv | undefined;
  for (const entry of COMMANDS) {
    const command = program.command(entry.name).summary(entry.summary).helpGroup(`${entry.group}:`);
    command.action(async (...received: unknown[]) => {
      const spec = await entry.load();
      const args = received.slice(0, spec.arguments.length) as ArgumentValue[];
      parsed = {
        kind: "run",
        command: spec,
        options: readValues(command, spec.options),
        args,
        globals: readValues(program, GLOBAL_OPTIONS),
        settings,
      };
    });
  }
  program.hook("preSubcommand", async (_program, command) => fillCommand(command, entryOf(command.name())));
  if (words.length === 0) throw new UsageError("no command given", "`lovage --help` lists them");
  try {
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: "answer", text };
    throw usageError(error.message, COMMANDS.find(({ name }) => words.includes(name))?.name);
  }
  if (parsed === undefined) throw new UsageError("no command given", "`lovage --help` lists them");
  return parsed;
}

/** Settings stand behind `--`, as Celery has it. `help x` is `x --help`. */
function splitSettings(argv: readonly string[]): { words: readonly string[]; settings: readonly string[] } {
  const at = argv.indexOf("--");
  const words = at < 0 ? argv : argv.slice(0, at);
  const settings = at < 0 ? [] : argv.slice(at + 1);
  return { words: words[0] === "help" ? [...words.slice(1), "--help"] : words, settings };
}

function makeProgram(colors: Colors, width: number | undefined, write: (text: string) => void): CommanderCommand {
  const program = new CommanderCommand("lovage");
  program
    .usage("[options] <command> [command options] [-- setting=value ...]")
    .description("Runs, calls and looks at tasks. Options of all commands may stand before or after the command.")
    .version(`lovage ${lovageVersion()}`, "--version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: write,
      writeErr: write,
      outputError: () => undefined,
      getOutHelpWidth: () => width ?? 100,
      getOutHasColors: () => colors.isColorSupported,
    })
    .configureHelp({ showGlobalOptions: true, styleTitle: (title) => colors.bold(title) });
  for (const option of Object.values(GLOBAL_OPTIONS)) program.addOption(commanderOption(option));
  return program;
}

async function fillCommand(command: CommanderCommand, entry: CommandEntry): Promise<void> {
  const spec = await entry.load();
  command.description(`${entry.summary[0]?.toUpperCase()}${entry.summary.slice(1)}.`);
  for (const argument of spec.arguments) command.addArgument(commanderArgument(argument));
  for (const option of Object.values(spec.options)) command.addOption(commanderOption(option));
  if (spec.examples.length > 0) command.addHelpText("after", `\nExamples:\n${spec.examples.map((line) => `  ${line}`).join("\n")}`);
}

function entryOf(name: string): CommandEntry {
  return COMMANDS.find((entry) => entry.name === name) as CommandEntry; // commander only dispatches to what was made from the table
}

function commanderOption(spec: OptionSpec<unknown>): Option {
  const option = new Option(spec.flags, spec.description);
  const { parse, choices } = spec;
  if (choices) option.choices([...choices]);
  if (parse) option.argParser((value: string, before: unknown) => parse(value, before));
  if (spec.hidden) option.hideHelp();
  if (spec.group !== undefined) option.helpGroup(`${spec.group}:`);
  return option;
}

function commanderArgument(spec: ArgumentSpec): Argument {
  const name = spec.variadic ? `${spec.name}...` : spec.name;
  const argument = new Argument(spec.required ? `<${name}>` : `[${name}]`, spec.description);
  return spec.choices ? argument.choices([...spec.choices]) : argument;
}

function readValues(command: CommanderCommand, specs: Readonly<Record<string, OptionSpec<unknown>>>): Values {
  return Object.fromEntries(
    Object.entries(specs).map(([key, spec]) => {
      const option = new Option(spec.flags);
      const value: unknown = command.getOptionValue(option.attributeName());
      if (option.negate) return [key, value === false];
      return [key, spec.parse ? value : value === true];
    }),
  );
}

/** Commander's message holds its suggestion, which is a hint of ours. */
function usageError(message: string, command: string | undefined): UsageError {
  const [first = "", ...rest] = message.replace(/^error: /, "").split("\n");
  const suggestion = /\(Did you mean (?:one of )?(.+)\?\)/.exec(rest.join(" "))?.[1];
  const help = `\`lovage ${command === undefined ? "" : `${command} `}--help\` shows what there is`;
  return new UsageError(first, suggestion === undefined ? help : `did you mean ${suggestion}?`);
}
