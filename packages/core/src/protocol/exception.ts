/**
 * Errors as result documents hold them: `{"exc_type", "exc_message", "exc_module"}` (celery-protocol 6.4). JavaScript's
 * and Node's errors go out under the names that Python knows; what comes in becomes a class of ours where there is one.
 */
import { LovageError } from "../shared/errors.ts";
import { pythonRepr } from "./python-repr.ts";
import { celeryError } from "./celery-errors.ts";
import { NATIVE_NAMES, PYTHON_NAMES, SYSTEM_ERRORS } from "./python-exceptions.ts";

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
  const text = args.length === 1 && typeof args[0] === "string" ? args[0] : args.map((arg) => pythonRepr(arg, 1000)).join(", ");
  return text === "" ? type : `${type}: ${text}`;
}

/** Where Python has no class of that name: synthetic there. */
const OUR_MODULE = "js.errors";

/** How Python is to call what was thrown. Never throws, whatever that is. */
export function toWireException(thrown: unknown): WireException {
  try {
    return thrown instanceof Error ? wireOf(thrown) : { type: "Exception", module: "builtins", args: [plain(thrown)] };
  } catch {
    return { type: "Exception", module: "builtins", args: ["an error that cannot be read"] }; // a proxy, a getter that throws
  }
}

function wireOf(error: Error): WireException {
  const { wire } = error as Partial<WireNamed>;
  if (isWireException(wire)) return wire;
  const system = systemError(error, 3);
  if (system) return system;
  const name = nameOf(error);
  const python = PYTHON_NAMES.get(name);
  return { type: python ?? name, module: python === undefined ? OUR_MODULE : "builtins", args: [error.message] };
}

/** The name that it was given; for a class that was given none, which bears that of the native class above it, the class's own. */
function nameOf(error: Error): string {
  const { name } = error;
  const own: unknown = error.constructor?.name;
  if (typeof own === "string" && own !== "" && own !== "NodeError" && (typeof name !== "string" || name === "" || NATIVE_NAMES.has(name)))
    return own.slice(0, 200);
  return typeof name === "string" && name !== "" ? name.slice(0, 200) : "Error";
}

/** @param left how many errors within errors are looked at */
function systemError(error: Error, left: number): WireException | undefined {
  const { code, errno, message, cause } = error as NodeJS.ErrnoException;
  const inner = error instanceof AggregateError && message === "" ? error.errors[0] : message === "fetch failed" ? cause : undefined;
  if (inner instanceof Error && left > 0) return systemError(inner, left - 1);
  if (typeof code !== "string") return undefined;
  const known = SYSTEM_ERRORS.get(code);
  if (known === undefined && !(typeof errno === "number" && /^E[A-Z0-9]+$/.test(code))) return undefined;
  const number = typeof errno === "number" ? Math.abs(errno) : known?.errno;
  return { type: known?.type ?? "OSError", module: known?.module ?? "builtins", args: [known?.module ? known.errno : number, message] };
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
      const inner = args[2] === undefined || args[2] === null ? [] : args[2];
      return { type: args[1], module: String(args[0]), args: Array.isArray(inner) ? inner : [inner] };
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

function isWireException(value: unknown): value is WireException {
  if (typeof value !== "object" || value === null) return false;
  const { type, module, args } = value as Partial<WireException>;
  return typeof type === "string" && type !== "" && typeof module === "string" && Array.isArray(args);
}
