import { Lovage, type LovageOptions } from "../app/app.ts";
import { newId } from "../shared/ids.ts";
import { silentLogger } from "../shared/log.ts";

/**
 * An app whose broker and results are in this process's memory, apart from every other one; it reads neither the
 * environment nor a configuration file. Close it (`await using app = memoryApp()`).
 */
export function memoryApp(options: LovageOptions & { readonly name?: string } = {}): Lovage {
  const { name = "test", ...rest } = options;
  const url = `memory://${newId()}`;
  return new Lovage(name, {
    brokerUrl: url,
    resultBackend: url,
    logger: silentLogger,
    env: false,
    configFile: false,
    root: process.cwd(),
    ...rest,
  });
}
