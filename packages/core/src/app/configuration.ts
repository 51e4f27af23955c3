/** Where an app's settings come from, until they are first used; from then on they stand. */
import type { Logger } from "../shared/log.ts";
import { readConfigFile } from "./config-file.ts";
import { readEnvironment, type Environment } from "./environment.ts";
import { ConfigurationError } from "./errors.ts";
import { resolveSettings, type ResolvedSettings, type SettingsLayer } from "./settings.ts";

/** What was said of an app's settings from outside of its module, for a thread or process that loads that module again. */
export interface ConfigurationHandover {
  readonly overrides: readonly SettingsLayer[];
  readonly file: string | false | undefined;
}

export interface ConfigurationDeps {
  readonly appName: string;
  /** Folder of `lovage.config.*`. */
  readonly root: string;
  readonly namespace: string;
  readonly env: Environment;
  logger(): Logger;
}

export class Configuration {
  readonly #deps: ConfigurationDeps;
  /** Newest first: later calls win. */
  readonly #code: SettingsLayer[] = [];
  readonly #overrides: SettingsLayer[] = [];
  /** undefined: the one that the environment names, else `lovage.config.*`. */
  #file: string | false | undefined;
  #resolved: ResolvedSettings | undefined;

  constructor(deps: ConfigurationDeps, file: string | false | undefined) {
    this.#deps = deps;
    this.#file = file;
  }

  /** @throws SettingError, ConfigurationError, ModuleLoadError */
  get resolved(): ResolvedSettings {
    return (this.#resolved ??= this.#resolve());
  }

  add(layer: SettingsLayer): void {
    this.#mustBeUnused();
    this.#code.unshift(layer);
  }

  override(layer: SettingsLayer): void {
    this.#mustBeUnused();
    this.#overrides.unshift(layer);
  }

  useFile(file: string | false): void {
    this.#mustBeUnused();
    this.#file = file;
  }

  get handover(): ConfigurationHandover {
    return { overrides: this.#overrides, file: this.#file };
  }

  /** In place of what was said here; the environment and the code of the module are read anew. */
  takeOver({ overrides, file }: ConfigurationHandover): void {
    this.#overrides.splice(0, this.#overrides.length, ...overrides);
    this.#file = file;
    this.#resolved = undefined;
  }

  #resolve(): ResolvedSettings {
    const { namespace, env } = this.#deps;
    const { layer, foreign } = readEnvironment(env, namespace);
    const file = this.#readFile();
    const resolved = resolveSettings([...this.#overrides, layer, ...(file ? [file] : []), ...this.#code], namespace);
    const logger = this.#deps.logger();
    for (const name of foreign) logger.warn({ variable: name }, "this variable of the environment is no setting and is ignored");
    for (const { name, why } of resolved.unused) logger.debug({ setting: name }, `a setting without effect here: ${why}`);
    return resolved;
  }

  #readFile(): SettingsLayer | undefined {
    if (this.#file === false) return undefined;
    const variable = `${this.#deps.namespace}_CONFIG_MODULE`;
    const named = this.#deps.env[variable] || undefined; // set but empty is not set
    return readConfigFile(this.#deps.root, this.#file ?? named, this.#file === undefined ? variable : "configFile");
  }

  #mustBeUnused(): void {
    if (!this.#resolved) return;
    throw new ConfigurationError(`the settings of the app ${this.#deps.appName} are in use already: configure it before its first call`);
  }
}
