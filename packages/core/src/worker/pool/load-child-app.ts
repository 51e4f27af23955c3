/** Brings the worker's app into one of its children, by loading the same module. */
import { isLovage, type Lovage } from "../../app/app.ts";
import { ConfigurationError } from "../../app/errors.ts";
import { loadModule } from "../../app/load-module.ts";
import { currentApp } from "../../app/process-wide.ts";
import type { Logger } from "../../shared/log.ts";
import type { ChildSetup } from "./messages.ts";

/** @throws ModuleLoadError, ConfigurationError */
export async function loadChildApp(setup: ChildSetup, logger: Logger): Promise<Lovage> {
  const module = await loadModule(setup.module);
  const app = findOwn(module, setup) ?? currentApp();
  if (app === undefined || app.name !== setup.appName) {
    throw new ConfigurationError(
      `the module ${setup.module} makes no app named ${setup.appName}: threads and processes of a pool load it to find their tasks. Give the worker the module that makes the app (appModule)`,
    );
  }
  app.useLogger(logger);
  app.takeOver(setup.handover);
  await app.loadTasks();
  return app;
}

function findOwn(module: Readonly<Record<string, unknown>>, { exportName, appName }: ChildSetup): Lovage | undefined {
  const inner = module["default"];
  const exported = { ...(typeof inner === "object" && inner !== null && !isLovage(inner) ? inner : {}), ...module } as typeof module;
  const named = exportName === undefined ? undefined : exported[exportName];
  if (isLovage(named)) return named;
  return Object.values(exported).find((value): value is Lovage => isLovage(value) && value.name === appName);
}
