/** The page about settings, rendered from their table: docs/settings.md. */
import { formatDuration } from "../shared/duration.ts";
import { DEFAULT_NAMESPACE } from "./environment.ts";
import { PRESETS } from "./presets.ts";
import { show } from "./secrets.ts";
import { environmentName, settingNames, settingOf, snakeCase } from "./settings.ts";
import { REFUSED_FAMILIES, type SettingName } from "./settings-table.ts";

/** Where each chapter begins; the table's order is the page's. */
const CHAPTERS: readonly (readonly [title: string, first: SettingName])[] = [
  ["General", "preset"],
  ["Tasks", "taskAnnotations"],
  ["Routing", "taskQueues"],
  ["Broker", "brokerUrl"],
  ["Results", "resultBackend"],
  ["Worker", "workerConcurrency"],
  ["Events and remote control", "eventQueueExpires"],
  ["Signing", "securityCertificate"],
  ["Beat", "beatSchedule"],
  ["Accepted for service scripts", "workerLogfile"],
];

const INTRODUCTION = `# Settings

<!-- Made from packages/core/src/app/settings-tables by scripts/settings-docs.mjs. Change the tables, not this page. -->

A setting has one name in three spellings: \`taskTimeLimit\` in code, \`taskTimeLimit\` or \`task_time_limit\` in a
configuration file, \`CELERY_TASK_TIME_LIMIT\` in the environment (\`new Lovage("shop", { namespace: "SHOP" })\` makes
that \`SHOP_TASK_TIME_LIMIT\`). Where it is given more than once, the environment wins over the configuration file, that
over code, and that over the preset and the defaults.

The configuration file is \`lovage.config.ts\` (or \`.js\`, \`.mjs\`, \`.cjs\`, \`.json\`) beside the package.json of the app;
\`CELERY_CONFIG_MODULE\` names another one. It exports an object of settings.

Durations are numbers of seconds, as in Celery, or texts: \`"250ms"\`, \`"90s"\`, \`"15m"\`, \`"2h"\`, \`"1d"\`. Lists in the
environment are separated by commas; objects there are written as JSON. A name that does not exist and a value that is not
accepted end the program with one line that says so.
`;

/** Markdown. */
export function renderSettingsDocs(): string {
  const names = settingNames();
  const starts = CHAPTERS.map(([, first]) => names.indexOf(first));
  const chapters = CHAPTERS.map(([title], index) => chapter(title, names.slice(starts[index], starts[index + 1])));
  return [INTRODUCTION, ...chapters, presets(), refused()].join("\n");
}

function chapter(title: string, names: readonly SettingName[]): string {
  const rows = names.map(
    (name) =>
      `| \`${name}\`<br>\`${environmentName(name, DEFAULT_NAMESPACE)}\` | ${cell(accepts(name))} | ${cell(initial(name))} | ${cell(meaning(name))} |`,
  );
  return [`## ${title}`, "", "| setting | takes | default | meaning |", "| --- | --- | --- | --- |", ...rows, ""].join("\n");
}

function accepts(name: SettingName): string {
  const { kind } = settingOf(name);
  return kind.isDuration ? (kind.accepts.endsWith("or null") ? "a duration, or null" : "a duration") : kind.accepts;
}

function initial(name: SettingName): string {
  const row = settingOf(name);
  if (row.scope === "unused") return "";
  return `\`${written(name, row.default)}\``;
}

function written(name: SettingName, value: unknown): string {
  return settingOf(name).kind.isDuration && typeof value === "number" ? formatDuration(value * 1000) : show(value);
}

function meaning(name: SettingName): string {
  const row = settingOf(name);
  const scope =
    row.scope === "ours"
      ? "Not in Celery."
      : row.scope === "amqp"
        ? "Only RabbitMQ looks at it."
        : row.scope === "unused"
          ? "Accepted without effect:"
          : "";
  const differs = row.celery === undefined || row.scope === "ours" ? "" : `Celery's default is \`${written(name, row.celery)}\`.`;
  return [scope, row.meaning, row.note, row.secret && "A secret: shown masked.", differs].filter(Boolean).join(" ");
}

function presets(): string {
  const production = Object.entries(PRESETS.production.values).map(([name, value]) => `\`${snakeCase(name)}\` = \`${show(value)}\``);
  return `## Presets\n\n\`preset: "celery"\` takes Celery's defaults wherever the tables above name one that differs. \`preset: "production"\` sets ${production.join(", ")}, and refuses eager mode.\n`;
}

function refused(): string {
  const stores = REFUSED_FAMILIES.map((family) => family.store).join(", ");
  return `## Refused\n\nSettings of result stores that do not exist here are refused by name, so that nobody believes results are kept there: ${stores}.\n`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
