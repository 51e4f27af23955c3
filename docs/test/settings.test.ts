import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { renderSettingsDocs } from "../../packages/core/src/app/settings-docs.ts";

test("the page of settings is what the table of settings says (npm run docs)", () => {
  expect(readFileSync(new URL("../settings.md", import.meta.url), "utf8")).toBe(renderSettingsDocs());
});
