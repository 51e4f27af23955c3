/**
 * Where a command's words go. What was asked for goes to the standard output, as text or, with `--json`, as one JSON
 * document a command; what is said about it goes to the standard error, so that pipes carry data only.
 */
import pc from "picocolors";

export type Colors = ReturnType<typeof pc.createColors>;

export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface OutputOptions {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly json: boolean;
  readonly quiet: boolean;
  /** false for `--no-color`; else it depends on the environment and on what is written to. */
  readonly color: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export class Output {
  readonly json: boolean;
  /** For what goes to the standard output. */
  readonly colors: Colors;
  /** For what goes to the standard error. */
  readonly errorColors: Colors;
  readonly #options: OutputOptions;

  constructor(options: OutputOptions) {
    this.#options = options;
    this.json = options.json;
    this.colors = pc.createColors(!options.json && wantsColor(options.stdout, options));
    this.errorColors = pc.createColors(wantsColor(options.stderr, options));
  }

  /** The command's answer: `document` as JSON when that was asked for, else the lines that `human` makes. */
  answer(document: unknown, human: (colors: Colors) => string | readonly string[]): void {
    if (this.json) {
      this.#options.stdout.write(`${JSON.stringify(document, plainJson, 2)}\n`);
      return;
    }
    const text = human(this.colors);
    const lines = typeof text === "string" ? [text] : text;
    if (lines.length > 0) this.#options.stdout.write(`${lines.join("\n")}\n`);
  }

  /** A remark that no program needs. Not said with `--quiet`. */
  note(text: string): void {
    if (!this.#options.quiet) this.#remark("note", text, text);
  }

  warn(text: string): void {
    this.#remark("warning", `${this.errorColors.yellow("warning:")} ${text}`, text);
  }

  /** What went wrong with the thing asked about, where the command itself did its work. */
  problem(text: string): void {
    this.#remark("error", `${this.errorColors.red("error:")} ${text}`, text);
  }

  /** With `--json` each line of the standard error is JSON too. */
  #remark(kind: string, line: string, text: string): void {
    this.#options.stderr.write(this.json ? `${JSON.stringify({ [kind]: text })}\n` : `${line}\n`);
  }

  /** Both ends of the conversation are a person's terminal. */
  isInteractive(stdin: { readonly isTTY?: boolean | undefined }): boolean {
    return stdin.isTTY === true && this.#options.stderr.isTTY === true;
  }

  /** Columns of the terminal; undefined when the standard output is none. */
  get width(): number | undefined {
    return this.#options.stdout.isTTY ? this.#options.stdout.columns : undefined;
  }
}

/** https://no-color.org and its counterpart FORCE_COLOR. */
export function wantsColor(sink: Sink, options: Pick<OutputOptions, "color" | "env">): boolean {
  const { env } = options;
  if (!options.color || (env["NO_COLOR"] ?? "") !== "") return false;
  if ((env["FORCE_COLOR"] ?? "") !== "") return env["FORCE_COLOR"] !== "0";
  return sink.isTTY === true && env["TERM"] !== "dumb";
}

/** What JSON has no word for, told as text. */
export function plainJson(this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key]; // bytes say themselves what they look like in JSON: a long list of numbers
  if (original instanceof Uint8Array) return Buffer.from(original).toString("base64");
  if (typeof value === "bigint") return String(value);
  if (typeof value === "function") return `[function ${value.name || "anonymous"}]`;
  return value;
}
