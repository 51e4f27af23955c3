export { LovageError } from "./shared/errors.ts";
