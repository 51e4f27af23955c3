/** `lovage config`: the settings in force and where each comes from. */
import { defineCommand } from "../command.ts";
import { flag } from "../option-kinds.ts";
import { settingRows, type SettingRow } from "../setting-rows.ts";
import { tableLines, type Column } from "../table.ts";

export const config = defineCommand({
  options: {
    defaults: flag("--defaults", "also the settings that nobody set"),
  },
  arguments: [{ name: "filter", description: "only settings with this in their name, in either spelling", required: false }],
  examples: ["lovage -A ./src/app.ts config", "lovage -A ./src/app.ts config broker", "lovage config --defaults --json"],
  async run({ openApp, output }, { defaults }, [filter]) {
    const app = await openApp();
    const part = filter === undefined ? "" : plainName(filter);
    const rows = settingRows(
      app.resolvedSettings,
      (name, isSet) => plainName(name).includes(part) && (defaults || filter !== undefined || isSet),
    );
    const document = Object.fromEntries(rows.map(({ name, plain, origin }) => [name, { value: plain, origin }]));
    output.answer(document, (colors) => (rows.length > 0 ? tableLines(rows, COLUMNS, colors) : []));
    if (rows.length > 0) return;
    output.note(
      filter === undefined
        ? "Nothing is set: all settings have their defaults (--defaults shows them)."
        : `No setting has "${filter}" in its name.`,
    );
  },
});

const COLUMNS: readonly Column<SettingRow>[] = [
  { title: "setting", cell: ({ name }) => name },
  { title: "value", cell: ({ shown }) => shown },
  { title: "from", cell: ({ origin }) => origin, paint: (cell, { origin }, colors) => (origin === "default" ? colors.dim(cell) : cell) },
];

function plainName(name: string): string {
  return name.replaceAll(/[_.-]/g, "").toLowerCase();
}
