/**
 * Errors as result documents hold them: `{"exc_type", "exc_message", "exc_module"}` (celery-protocol 6.4). JavaScript's
 * and Node's errors go out under the names that Python knows; what comes in becomes a class of ours where there is one.
 */
import { LovageError } from "../shared/errors.ts";
import { pythonRepr } from "./python-repr.ts";
import { celeryError } from "./celery-errors.ts";
import { PYTHON_NAMES, SYSTEM_ERRORS } from "./python-exceptions.ts";

export interface WireException {
  readonly type: string;
  readonly module: string;
  /** The constructor's arguments: values that the result serializer can write. */
  readonly args: readonly unknown[];
}

/** An error that knows how Python calls it. */
export interface WireNamed {
  readonly wire: WireException;
}

/** An error that was raised elsewhere, by a program whose class for it is not known here. */
export class RemoteTaskError extends LovageError implements WireNamed {
  readonly code = "REMOTE_TASK";
  readonly type: string;
  readonly module: string;
  readonly args: readonly unknown[];

  constructor(wire: WireException) {
    super(remoteText(wire));
    this.type = wire.type;
    this.module = wire.module;
    this.args = wire.args;
  }

  get wire(): WireException {
    return { type: this.type, module: this.module, args: this.args };
  }
}

function remoteText({ type, args }: WireException): string {
  const text = args.length === 1 ? String(args[0]) : args.map((arg) => (typeof arg === "string" ? `'${arg}'` : String(arg))).join(", ");
  return text === "" ? type : `${type}: ${text}`;
}

/** Where Python has no class of that name: synthetic there. */
const OUR_MODULE = "js.errors";

export function toWireException(error: unknown): WireException {
  if (!(error instanceof Error)) return { type: "Exception", module: "builtins", args: [plain(error)] };
  const wire = (error as Partial<WireNamed>).wire;
  if (typeof wire === "object" && wire !== null && typeof wire.type === "string") return wire;
  const system = systemError(error);
  if (system) return system;
  const name = error.name || "Error";
  const python = PYTHON_NAMES.get(name);
  return { type: python ?? name, module: python === undefined ? OUR_MODULE : "builtins", args: [error.message] };
}

function systemError(error: Error): WireException | undefined {
  const { code, errno } = error as NodeJS.ErrnoException;
  if (error instanceof AggregateError && error.message === "" && error.errors[0] instanceof Error) return systemError(error.errors[0]);
  const known = typeof code === "string" ? SYSTEM_ERRORS.get(code) : undefined;
  if (!known) return undefined;
  return { type: known.type, module: "builtins", args: [typeof errno === "number" ? Math.abs(errno) : known.errno, error.message] };
}

/** What a JSON document can hold of a thing that was thrown; some things cannot even be turned into text. */
function plain(value: unknown): unknown {
  if (value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value)) return value;
  return pythonRepr(value, 1000);
}

/** Reads an exception document of any shape; never throws. */
export function readWireException(document: unknown): WireException {
  if (typeof document === "object" && document !== null && "exc_type" in document) {
    const { exc_type: type, exc_message: message, exc_module: module } = document as Record<string, unknown>;
    const args = Array.isArray(message) ? message : message === undefined || message === null ? [] : [message];
    if (type === "UnpickleableExceptionWrapper" && typeof args[1] === "string") {
      return { type: args[1], module: String(args[0]), args: Array.isArray(args[2]) ? args[2] : [args[2]] };
    }
    return { type: typeof type === "string" ? type : "Exception", module: typeof module === "string" ? module : "builtins", args };
  }
  return { type: "Exception", module: "builtins", args: document === null || document === undefined ? [] : [document] };
}

export function wireDocument(wire: WireException): { exc_type: string; exc_message: readonly unknown[]; exc_module: string } {
  return { exc_type: wire.type, exc_message: wire.args, exc_module: wire.module };
}

/** Celery's own as the classes both sides share; any other as RemoteTaskError with its type, module and arguments. */
export function fromWireException(document: unknown): Error {
  const wire = isWireException(document) ? document : readWireException(document);
  return celeryError(wire) ?? new RemoteTaskError(wire);
}

function isWireException(document: unknown): document is WireException {
  return typeof document === "object" && document !== null && "type" in document && "module" in document && "args" in document;
}
