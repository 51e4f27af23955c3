import { expect, test } from "vitest";
import { settingNames, environmentName } from "./settings.ts";
import { renderSettingsDocs } from "./settings-docs.ts";

test("every setting stands on the page once, under its name and its variable", () => {
  const page = renderSettingsDocs();
  const missing = settingNames().filter((name) => page.split(`| \`${name}\`<br>\`${environmentName(name, "CELERY")}\` |`).length !== 2);
  expect(missing).toEqual([]);
  expect(page).toContain("| `taskAcksLate`<br>`CELERY_TASK_ACKS_LATE` | true or false | `true` |");
  expect(page).toContain("Celery's default is `false`.");
  expect(page).toContain("| `resultExpires`<br>`CELERY_RESULT_EXPIRES` | a duration, or null | `1d` |");
});
