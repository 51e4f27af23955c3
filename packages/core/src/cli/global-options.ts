/** Options of every command, with Celery's names. They may stand before or after the command's name. */
import type { GlobalOptions, OptionSpec } from "./command.ts";
import { UsageError } from "./errors.ts";
import { flag, text } from "./option-kinds.ts";

export const GLOBAL_OPTIONS = {
  app: text("-A, --app <module>", "module with your app: ./src/app.ts, proj/app, module:export (env: LOVAGE_APP, CELERY_APP)", {
    completes: "file",
  }),
  broker: text("-b, --broker <url>", "broker to use instead of the configured one"),
  resultBackend: text("--result-backend <url>", "result backend to use instead of the configured one"),
  config: text("--config <file>", "configuration file: .ts, .js, .json (default: lovage.config.*)", { completes: "file" }),
  workdir: text("--workdir <directory>", "change to this directory first", { completes: "directory" }),
  noColor: flag("-C, --no-color", "no colours (env: NO_COLOR)"),
  quiet: flag("-q, --quiet", "no remarks"),
  json: flag("-j, --json", "answer in JSON"),
  traceback: flag("--traceback", "show where an error comes from (env: LOVAGE_DEBUG)"),
} satisfies Readonly<Record<string, OptionSpec<unknown>>>;

type Values = { readonly [Key in keyof typeof GLOBAL_OPTIONS]?: unknown };

/** @param settings what stood after `--` */
export function readGlobalOptions(
  values: Values,
  settings: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): GlobalOptions {
  const broker = values.broker as string | undefined;
  const resultBackend = values.resultBackend as string | undefined;
  return {
    app: (values.app as string | undefined) ?? (env["LOVAGE_APP"] || env["CELERY_APP"] || undefined),
    settings: {
      ...readSettings(settings),
      ...(broker === undefined ? {} : { broker_url: broker, broker_read_url: broker, broker_write_url: broker }),
      ...(resultBackend === undefined ? {} : { result_backend: resultBackend }),
    },
    configFile: values.config as string | undefined,
    workdir: values.workdir as string | undefined,
    color: values.noColor !== true,
    quiet: values.quiet === true,
    json: values.json === true,
    traceback: values.traceback === true || (env["LOVAGE_DEBUG"] ?? "") !== "",
  };
}

/** `worker.concurrency=4` as in Celery, `worker_concurrency=4`, `workerConcurrency=4`. */
function readSettings(words: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf("=");
      if (at <= 0)
        throw new UsageError(`"${word}" after -- is no setting`, "settings are written key=value, such as: -- worker_concurrency=4");
      return [word.slice(0, at).replaceAll(".", "_"), word.slice(at + 1)];
    }),
  );
}
