/** What shells have to know of the command line: words, options, and what may follow them. Pure but for loading the commands. */
import type { ArgumentSpec, OptionSpec } from "../command.ts";
import type { CommandEntry } from "../command-table.ts";

export interface CompletionModel {
  readonly globals: readonly CompletedOption[];
  readonly commands: readonly CompletedCommand[];
}

export interface CompletedCommand {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  /** Words that its first argument can be; empty when any text is accepted. */
  readonly words: readonly string[];
}

export interface CompletedOption {
  /** `-Q` */
  readonly short: string | undefined;
  /** `--queues` */
  readonly long: string;
  readonly description: string;
  readonly value: CompletedValue;
}

export type CompletedValue =
  | { readonly kind: "none" }
  | { readonly kind: "any" }
  | { readonly kind: "file" }
  | { readonly kind: "directory" }
  | { readonly kind: "choices"; readonly choices: readonly string[] };

type Options = Readonly<Record<string, OptionSpec<unknown>>>;

export async function completionModel(entries: readonly CommandEntry[], globals: Options): Promise<CompletionModel> {
  const commands = entries.map(async ({ name, summary, load }): Promise<CompletedCommand> => {
    const spec = await load();
    return { name, summary, options: completedOptions(spec.options), words: firstWords(spec.arguments) };
  });
  const own: readonly CompletedOption[] = [
    { short: "-h", long: "--help", description: "show help", value: { kind: "none" } },
    { short: undefined, long: "--version", description: "print the version", value: { kind: "none" } },
  ];
  return { globals: [...completedOptions(globals), ...own], commands: await Promise.all(commands) };
}

function completedOptions(options: Options): readonly CompletedOption[] {
  return Object.values(options)
    .filter((option) => !option.hidden)
    .map((option) => ({ ...readFlags(option.flags), description: option.description, value: valueOf(option) }));
}

function readFlags(flags: string): { short: string | undefined; long: string } {
  const words = flags.split(/[ ,]+/);
  return { short: words.find((word) => /^-[^-]$/.test(word)), long: words.find((word) => word.startsWith("--")) ?? "" };
}

function valueOf(option: OptionSpec<unknown>): CompletedValue {
  if (!option.parse) return { kind: "none" };
  if (option.choices) return { kind: "choices", choices: option.choices };
  return { kind: option.completes ?? "any" };
}

function firstWords([first]: readonly ArgumentSpec[]): readonly string[] {
  return first?.choices ?? [];
}
