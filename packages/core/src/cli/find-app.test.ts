import { expect, test } from "vitest";
import { AppNotFoundError } from "./errors.ts";
import { findApp } from "./find-app.ts";

class App {
  readonly isApp = true;
}
const isApp = (value: unknown): value is App => value instanceof App;
const find = (module: Record<string, unknown>, wanted?: string): App => findApp(module, wanted, isApp, "src/app.ts");
const first = new App();
const second = new App();

test("an export named app, then the default, then the only app there is", () => {
  expect(find({ app: first, default: second })).toBe(first);
  expect(find({ other: first, default: second })).toBe(second);
  expect(find({ shop: first, add: () => 1 })).toBe(first);
  expect(find({ shop: first, alias: first })).toBe(first);
});

test("what CommonJS exports counts as well", () => {
  expect(find({ default: { shop: first } })).toBe(first);
  expect(find({ default: { app: first, other: second }, "module.exports": {} })).toBe(first);
});

test("a named export is taken, and must be an app", () => {
  expect(find({ app: first, other: second }, "other")).toBe(second);
  expect(() => find({ celeryApp: first }, "celerApp")).toThrow('src/app.ts has no export celerApp. Did you mean "celeryApp"?');
  expect(() => find({ app: first, add: () => 1 }, "add")).toThrow("no app, but a function");
});

test("none, or several without a name that decides, is an error that says what to write", () => {
  expect(() => find({ add: () => 1 })).toThrow(AppNotFoundError);
  expect(() => find({ one: first, two: second })).toThrow(
    expect.objectContaining({ message: expect.stringContaining("one, two"), hint: expect.stringContaining("-A src/app.ts:one") }),
  );
});
