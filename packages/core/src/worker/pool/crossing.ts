/**
 * Values on their way between threads or processes. Structured clone carries plain data; what it would strip of its
 * class (decimals, dates with microseconds, bytes) is put in a wrapper here and taken out on the other side. Errors
 * cross as what is known of them: name, text, stack, and how Python calls them.
 */
import type { HandOver } from "../../canvas/replace.ts";
import type { RetryPlan } from "../../app/task-signals.ts";
import { celeryError } from "../../protocol/celery-errors.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { toWireException, type WireException, type WireNamed } from "../../protocol/exception.ts";
import { parseInstant } from "../../protocol/instant.ts";
import { Decimal, PlainDate, PlainTime, Uuid, WireDate } from "../../protocol/json-values.ts";
import { LeaseLostError, type Outcome, WorkerStoppedError } from "../outcome.ts";

// --- values --------------------------------------------------------------------------------------------------------

export interface Packed {
  readonly value: unknown;
  /** There is a wrapper somewhere in it. */
  readonly isWrapped: boolean;
}

/** As deep as JSON may be (`protocol/json.ts`). */
const DEEPEST = 200;
const TAG = "\u0000lovage";

type Wrapper = { readonly [TAG]: string; readonly of: unknown };

interface Packing {
  isWrapped: boolean;
  readonly transfer: ArrayBuffer[] | undefined;
}

/**
 * Copies only what it has to change. Objects of classes become plain ones, as they do in JSON.
 * @param transfer receives the buffers that were copied here, which may be moved instead of copied once more
 * @throws ProtocolError for a value that holds itself
 */
export function pack(value: unknown, transfer?: ArrayBuffer[]): Packed {
  const packing: Packing = { isWrapped: false, transfer };
  const packed = packValue(value, packing, 0);
  return { value: packed, isWrapped: packing.isWrapped };
}

export function unpack({ value, isWrapped }: Packed): unknown {
  return isWrapped ? unpackValue(value) : value;
}

function packValue(value: unknown, packing: Packing, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > DEEPEST) throw new ProtocolError("unsupported", "value", `it is nested more than ${DEEPEST} deep, or holds itself`);
  if (Array.isArray(value)) return packArray(value, packing, depth + 1);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return packMap(value as Record<string, unknown>, packing, depth + 1);
  return packInstance(value, packing, depth + 1);
}

function packArray(list: readonly unknown[], packing: Packing, depth: number): readonly unknown[] {
  let copy: unknown[] | undefined;
  for (let i = 0; i < list.length; i++) {
    const item = list[i];
    if (typeof item !== "object" || item === null) continue;
    const packed = packValue(item, packing, depth);
    if (packed !== item) (copy ??= [...list])[i] = packed;
  }
  return copy ?? list;
}

function packMap(map: Record<string, unknown>, packing: Packing, depth: number): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key of Object.keys(map)) {
    const item = map[key];
    if (typeof item !== "object" || item === null) continue;
    const packed = packValue(item, packing, depth);
    if (packed !== item) define((copy ??= { ...map }), key, packed);
  }
  return copy ?? map;
}

function packInstance(value: object, packing: Packing, depth: number): unknown {
  if (value instanceof Uint8Array) {
    const bytes = new Uint8Array(value); // a view would take the whole buffer below it along
    packing.transfer?.push(bytes.buffer);
    return wrap(Buffer.isBuffer(value) ? "buffer" : "bytes", bytes, packing);
  }
  if (value instanceof WireDate) return wrap("datetime", value.text, packing);
  if (value instanceof Date || value instanceof Map || value instanceof Set || value instanceof Promise) return value;
  if (value instanceof Decimal) return wrap("decimal", value.text, packing);
  if (value instanceof PlainDate) return wrap("date", value.text, packing);
  if (value instanceof PlainTime) return wrap("time", value.text, packing);
  if (value instanceof Uuid) return wrap("uuid", value.text, packing);
  if ("toJSON" in value && typeof value.toJSON === "function") return packValue(value.toJSON(), packing, depth);
  return packMap({ ...value }, packing, depth);
}

function wrap(kind: string, of: unknown, packing: Packing): Wrapper {
  packing.isWrapped = true;
  return { [TAG]: kind, of };
}

function unpackValue(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(unpackValue);
  if (Object.getPrototypeOf(value) !== Object.prototype) return value; // dates, maps
  if (TAG in value) return unwrap(value as unknown as Wrapper);
  for (const key of Object.keys(value)) {
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === "object" && item !== null) define(value as Record<string, unknown>, key, unpackValue(item));
  }
  return value;
}

function unwrap({ [TAG]: kind, of }: Wrapper): unknown {
  if (of instanceof Uint8Array) return kind === "buffer" ? Buffer.from(of.buffer, of.byteOffset, of.byteLength) : of;
  const text = String(of);
  switch (kind) {
    case "datetime":
      return new WireDate(parseInstant(text, "value"));
    case "decimal":
      return new Decimal(text);
    case "date":
      return new PlainDate(text);
    case "time":
      return new PlainTime(text);
    default:
      return new Uuid(text);
  }
}

/** A key may be `__proto__`. */
function define(map: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__") Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
  else map[key] = value;
}

// --- what was thrown -------------------------------------------------------------------------------------------------

export type PackedThrown =
  | { readonly kind: "value"; readonly value: Packed }
  | {
      readonly kind: "error";
      readonly name: string;
      readonly message: string;
      readonly stack: string | undefined;
      readonly code: string | undefined;
      readonly wireType: string;
      readonly wireModule: string;
      readonly wireArgs: Packed;
    };

/** An error of a body that ran in another thread or process. */
export class CrossedError extends Error implements WireNamed {
  readonly wire: WireException;
  readonly code: string | undefined;

  constructor(name: string, message: string, wire: WireException, code: string | undefined) {
    super(message);
    this.name = name;
    this.wire = wire;
    this.code = code;
  }
}

export function packThrown(thrown: unknown): PackedThrown {
  if (!(thrown instanceof Error)) {
    try {
      return { kind: "value", value: pack(structuredClone(thrown)) };
    } catch {
      return { kind: "value", value: pack(toWireException(thrown).args[0]) };
    }
  }
  const { type, module, args } = toWireException(thrown);
  const code = (thrown as { code?: unknown }).code;
  return {
    kind: "error",
    name: thrown.name,
    message: thrown.message,
    stack: thrown.stack,
    code: typeof code === "string" ? code : undefined,
    wireType: type,
    wireModule: module,
    wireArgs: packArgs(args),
  };
}

/** Arguments of a user's exception may be anything; then their text has to do. */
function packArgs(args: readonly unknown[]): Packed {
  try {
    return pack(structuredClone(pack(args).value));
  } catch {
    return pack(args.map(String));
  }
}

export function unpackThrown(thrown: PackedThrown): unknown {
  if (thrown.kind === "value") return unpack(thrown.value);
  const error = errorOf(thrown);
  if (thrown.stack !== undefined) error.stack = thrown.stack;
  return error;
}

function errorOf({ name, message, code, wireType, wireModule, wireArgs }: Extract<PackedThrown, { kind: "error" }>): Error {
  if (code === "LEASE_LOST") return new LeaseLostError();
  if (code === "WORKER_STOPPED") return new WorkerStoppedError();
  const wire: WireException = { type: wireType, module: wireModule, args: unpack(wireArgs) as unknown[] };
  const known = /^(?:celery|billiard)\./.test(wireModule) ? celeryError(wire) : undefined;
  return known ?? new CrossedError(name, message, wire, code);
}

// --- outcomes --------------------------------------------------------------------------------------------------------

/** What a body can come to. The rest is for the one who watches it to say. */
export type PackedOutcome =
  | { readonly kind: "succeeded"; readonly value: Packed }
  | { readonly kind: "failed"; readonly error: PackedThrown; readonly isExpected: boolean }
  | { readonly kind: "retry"; readonly plan: PackedPlan; readonly error: PackedThrown | undefined; readonly isAutomatic: boolean }
  | { readonly kind: "rejected"; readonly requeue: boolean; readonly reason: PackedThrown }
  | { readonly kind: "snoozed"; readonly delayMs: number; readonly holdsLimit?: boolean }
  | { readonly kind: "yielded"; readonly to: "front" | "back" }
  | { readonly kind: "ignored" }
  | { readonly kind: "replaced"; readonly by: Packed };

/** A plan without its error; its changes are packed. */
type PackedPlan = Omit<RetryPlan, "error" | "changes"> & { readonly changes: Packed };

/** @param isExpected the task's `throws` names this error: told here, because classes of errors do not cross */
export function packOutcome(outcome: Outcome, isExpected: boolean, transfer?: ArrayBuffer[]): PackedOutcome {
  switch (outcome.kind) {
    case "succeeded":
      return { kind: "succeeded", value: pack(outcome.value, transfer) };
    case "failed":
      return { kind: "failed", error: packThrown(outcome.error), isExpected };
    case "retry": {
      const { error, changes, ...plan } = outcome.plan;
      return {
        kind: "retry",
        plan: { ...plan, changes: pack(changes) },
        error: error === undefined ? undefined : packThrown(error),
        isAutomatic: outcome.isAutomatic ?? false,
      };
    }
    case "rejected":
      return { kind: "rejected", requeue: outcome.requeue, reason: packThrown(outcome.reason) };
    case "snoozed":
    case "yielded":
      return outcome;
    case "replaced":
      return { kind: "replaced", by: pack(outcome.by) };
    case "ignored":
    // What a worker says of a run, and no body of itself: no hook follows it.
    case "timedOut":
    case "revoked":
    case "childLost":
    case "interrupted":
    case "leaseLost":
      return { kind: "ignored" };
  }
}

export function unpackOutcome(outcome: PackedOutcome): Outcome {
  switch (outcome.kind) {
    case "succeeded":
      return { kind: "succeeded", value: unpack(outcome.value) };
    case "failed":
      return { kind: "failed", error: unpackThrown(outcome.error), isWeighed: true, isExpected: outcome.isExpected };
    case "retry": {
      const { plan, error, isAutomatic } = outcome;
      const changes = unpack(plan.changes) as RetryPlan["changes"]; // packed from one
      return { kind: "retry", plan: { ...plan, changes, error: error === undefined ? undefined : unpackThrown(error) }, isAutomatic };
    }
    case "rejected":
      return { kind: "rejected", requeue: outcome.requeue, reason: unpackThrown(outcome.reason) };
    case "replaced":
      return { kind: "replaced", by: unpack(outcome.by) as HandOver }; // packed from one
    case "snoozed":
    case "yielded":
    case "ignored":
      return outcome;
  }
}
