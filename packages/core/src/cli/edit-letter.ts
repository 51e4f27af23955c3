/** The arguments of a dead letter as a text to edit, and back. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TaskArguments } from "../protocol/edit-arguments.ts";
import { decodeJson, encodeJson } from "../protocol/json.ts";
import { errorText } from "../shared/errors.ts";
import { UsageError } from "./errors.ts";

/** One argument a line. Dates, bytes and long integers are written as in messages, so that nothing of them is lost. */
export function argumentsText({ args, kwargs }: TaskArguments): string {
  const positional = args.map((value) => `\n    ${encodeJson(value)}`).join(",");
  const named = Object.entries(kwargs)
    .map(([name, value]) => `\n    ${JSON.stringify(name)}: ${encodeJson(value)}`)
    .join(",");
  return `{\n  "args": [${positional}${positional && "\n  "}],\n  "kwargs": {${named}${named && "\n  "}}\n}\n`;
}

/** @throws UsageError that says what is wrong with it */
export function readArguments(text: string): TaskArguments {
  let value: unknown;
  try {
    value = decodeJson(text);
  } catch (error) {
    throw new UsageError(`the edited arguments are not JSON: ${errorText(error)}`, "the dead letter is as it was");
  }
  const { args, kwargs } = (value ?? {}) as { readonly args?: unknown; readonly kwargs?: unknown };
  if (!Array.isArray(args)) throw new UsageError("`args` of the edited arguments is no list", "the dead letter is as it was");
  if (typeof kwargs !== "object" || kwargs === null || Array.isArray(kwargs))
    throw new UsageError("`kwargs` of the edited arguments is no object", "the dead letter is as it was");
  return { args, kwargs: kwargs as Record<string, unknown> };
}

/** In the user's editor. Undefined when it was left unchanged. The file is the user's alone, and gone afterwards. */
export async function editInEditor(text: string, editor: string): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "lovage-edit-"));
  const file = join(folder, "arguments.json");
  try {
    await writeFile(file, text, { mode: 0o600 });
    const code = await new Promise<number | null>((resolve, reject) => {
      const child = spawn(editor, [file], { stdio: "inherit", shell: true });
      child.once("error", reject).once("exit", resolve);
    });
    if (code !== 0) throw new UsageError(`${editor} ended with ${code}`, "the dead letter is as it was");
    const edited = await readFile(file, "utf8");
    return edited === text ? undefined : edited;
  } finally {
    await rm(folder, { recursive: true });
  }
}
