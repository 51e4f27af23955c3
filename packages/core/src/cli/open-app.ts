/** Brings the user's app into this process, with what the command line says on top of its settings. */
import { join, relative, resolve } from "node:path";
import { isLovage, Lovage } from "../app/app.ts";
import { locateApp } from "../app/app-files.ts";
import { loadModule } from "../app/load-module.ts";
import type { Logger } from "../shared/log.ts";
import { resolveAppArgument } from "./app-argument.ts";
import type { GlobalOptions } from "./command.ts";
import { findApp } from "./find-app.ts";

/** @throws AppNotFoundError, ModuleLoadError, SettingError */
export async function openApp(globals: GlobalOptions, logger: Logger): Promise<Lovage> {
  const app = globals.app === undefined ? appOfNoModule() : await loadApp(globals.app);
  app.useLogger(logger);
  if (globals.configFile !== undefined) app.useConfigFile(resolve(globals.configFile));
  if (Object.keys(globals.settings).length > 0) app.override(globals.settings, "the command line", { isText: true });
  return app;
}

async function loadApp(argument: string): Promise<Lovage> {
  const { file, exportName } = resolveAppArgument(argument, process.cwd());
  return findApp(await loadModule(file), exportName, isLovage, relative(process.cwd(), file));
}

/** For commands that can do without: settings come from environment and configuration file, files stand in this project. */
function appOfNoModule(): Lovage {
  return new Lovage("lovage", { root: locateApp(join(process.cwd(), "no-module")).root });
}
