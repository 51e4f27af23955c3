/** `lovage report`: what a bug report needs. Shows no secrets, and opens nothing but a connection to a broker that is a server. */
import type { Lovage } from "../../app/app.ts";
import type { ConnectionSpec } from "../../app/connect.ts";
import { maskUrl } from "../../app/secrets.ts";
import { errorText } from "../../shared/errors.ts";
import { lovageVersion } from "../version.ts";
import { defineCommand } from "../command.ts";
import { reportError } from "../error-report.ts";
import { packageVersion } from "../package-versions.ts";
import { reachBroker } from "../reach.ts";
import { settingRows } from "../setting-rows.ts";

export const report = defineCommand({
  options: {},
  arguments: [],
  examples: ["lovage -A ./src/app.ts report", "lovage report --json"],
  async run({ openApp, output }) {
    const app = await openApp();
    const software = {
      lovage: lovageVersion(),
      node: process.versions.node,
      platform: `${process.platform} ${process.arch}`,
      ioredis: packageVersion("ioredis") ?? "not installed",
      sqlite: await sqliteVersion(),
    };
    const connections = { app: app.name, broker: await describeBroker(app), results: describeBackend(app) };
    const settings = settingRows(app.resolvedSettings, (_name, isSet) => isSet);
    const document = {
      software,
      ...connections,
      settings: Object.fromEntries(settings.map(({ name, plain, origin }) => [name, { value: plain, origin }])),
    };
    output.answer(document, (colors) => [
      ...section("software", Object.entries(software)),
      ...section("app", Object.entries(connections)),
      ...section("settings", settings.map(({ name, shown, origin }) => [name, `${shown} ${colors.dim(`(${origin})`)}`])), // prettier-ignore
    ]);
  },
});

function section(title: string, facts: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(0, ...facts.map(([name]) => name.length));
  return [`[${title}]`, ...(facts.length === 0 ? ["  (all defaults)"] : facts.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`))];
}

/** A file would be made by opening it, so only servers are asked. */
async function describeBroker(app: Lovage): Promise<string> {
  try {
    const spec = app.brokerSpec();
    if (spec.kind !== "redis") return whereIs(spec);
    const broker = await reachBroker(app);
    return `${broker.location} (answers)`;
  } catch (error) {
    return reportError(error).message;
  }
}

function describeBackend(app: Lovage): string {
  const spec = app.backendSpec();
  return spec === undefined ? "none" : whereIs(spec);
}

function whereIs(spec: ConnectionSpec): string {
  switch (spec.kind) {
    case "redis":
      return maskUrl(spec.url);
    case "sqlite":
      return `sqlite ${spec.path}`;
    case "memory":
      return "memory";
  }
}

async function sqliteVersion(): Promise<string> {
  try {
    const { loadSqlite } = await import("../../stores/sqlite/driver.ts");
    const DatabaseSync = await loadSqlite();
    const database = new DatabaseSync(":memory:");
    const { version } = database.prepare("SELECT sqlite_version() AS version").get() as { version: string };
    database.close();
    return version;
  } catch (error) {
    return errorText(error);
  }
}
