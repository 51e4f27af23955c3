/** Which of a task's arguments are encrypted, and the arguments with them encrypted or decrypted. What is given is never changed. */
import type { Kwargs } from "./call-options.ts";
import { type FieldCipher, isSealed } from "./encryption.ts";
import { NotAccepted } from "./setting-kinds.ts";

/** Paths as errors show them: `args[0].card.number`, `args[1].lines[*].iban`, `kwargs.email`. true: every argument as a whole. */
export type EncryptInput = boolean | readonly string[];

type Step = string | number | typeof EACH;
const EACH = Symbol("each");

export interface EncryptedPath {
  readonly text: string;
  readonly steps: readonly Step[];
}

export const ENCRYPT_ACCEPTED = 'true, or a list of paths such as "args[0].card", "args[1].lines[*].iban" and "kwargs.email"';

const WHOLE: EncryptInput = ["args[*]", "kwargs[*]"];

/** undefined: nothing is encrypted. @throws NotAccepted */
export function readEncrypt(input: unknown): readonly EncryptedPath[] | undefined {
  const paths = input === true ? WHOLE : input;
  if (paths === undefined || paths === false) return undefined;
  if (!Array.isArray(paths) || paths.length === 0) throw new NotAccepted();
  return paths.map(readPath);
}

function readPath(text: unknown): EncryptedPath {
  if (typeof text !== "string" || !/^(args|kwargs)(\[(\d+|\*)\]|\.[^.[\]]+)+$/.test(text))
    throw new NotAccepted(`${JSON.stringify(text)} is not a path such as args[0].card or kwargs.email`);
  const steps = [...text.matchAll(/\[(\d+)\]|\[(\*)\]|\.?([^.[\]]+)/g)].map(([, index, each, name]): Step => {
    if (each !== undefined) return EACH;
    return index === undefined ? (name as string) : Number(index);
  });
  return { text, steps };
}

export interface CallArguments {
  readonly args: readonly unknown[];
  readonly kwargs: Kwargs;
}

/** A path that leads nowhere in this call is passed over. @throws ConfigurationError, ProtocolError */
export function sealArguments(
  call: CallArguments,
  paths: readonly EncryptedPath[],
  cipher: () => FieldCipher,
  task: string,
): CallArguments {
  let sealed: unknown = { args: call.args, kwargs: call.kwargs };
  for (const { steps, text } of paths) {
    sealed = changedAt(sealed, steps, (value) => (isSealed(value) ? value : cipher().seal(value, task, text)));
  }
  return sealed as CallArguments;
}

function changedAt(value: unknown, steps: readonly Step[], change: (value: unknown) => unknown): unknown {
  const [step, ...rest] = steps;
  if (step === undefined) return value === undefined ? value : change(value); // `undefined` is refused later, where it stands
  if (isSealed(value)) return value; // by another path
  if (Array.isArray(value)) {
    const isHere = (index: number): boolean => step === EACH || step === index;
    return value.map((item: unknown, index) => (isHere(index) ? changedAt(item, rest, change) : item));
  }
  if (!isPlain(value) || typeof step === "number") return value;
  const names = step === EACH ? Object.keys(value) : Object.hasOwn(value, step) ? [step] : [];
  if (names.length === 0) return value;
  return { ...value, ...Object.fromEntries(names.map((name) => [name, changedAt(value[name], rest, change)])) };
}

/** Wherever they stand: a chain puts the result before the arguments. @throws DecryptionError */
export function openArguments(call: CallArguments, cipher: () => FieldCipher, task: string): CallArguments {
  const open = (value: unknown): unknown => {
    if (isSealed(value)) return open(cipher().open(value, task)); // paths may lie within each other
    if (Array.isArray(value)) return value.map(open);
    return isPlain(value) ? Object.fromEntries(Object.entries(value).map(([name, item]) => [name, open(item)])) : value;
  };
  return { args: call.args.map(open), kwargs: open(call.kwargs) as Kwargs };
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
