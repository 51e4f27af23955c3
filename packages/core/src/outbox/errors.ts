import { LovageError } from "../shared/errors.ts";

/** The database of the outbox cannot be reached, or dropped the connection. */
export class OutboxUnavailableError extends LovageError {
  readonly code = "OUTBOX_UNAVAILABLE";
  override readonly transient = true;
  /** Without credentials. */
  readonly location: string;

  constructor(location: string, cause: unknown) {
    super(`cannot use the outbox in ${location}`, { cause });
    this.location = location;
  }
}

/** The tables of the outbox are not there, or not of this version. */
export class OutboxSchemaError extends LovageError {
  readonly code = "OUTBOX_SCHEMA";

  constructor(location: string, problem: string, options?: ErrorOptions) {
    super(`the outbox in ${location} ${problem}`, options);
  }
}

/** The package that speaks to this database is not installed. */
export class OutboxDriverMissingError extends LovageError {
  readonly code = "OUTBOX_DRIVER_MISSING";

  constructor(name: string, cause: unknown) {
    super(`the package ${name} is not installed: npm install ${name}`, { cause });
  }
}

/** A row that can never be published as it is. */
export class UnpublishableRowError extends LovageError {
  readonly code = "UNPUBLISHABLE_ROW";
}
