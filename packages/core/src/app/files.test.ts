import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { callerFile, locateApp } from "./app-files.ts";
import { readConfigFile } from "./config-file.ts";
import { discover, expandBraces, pathGlob } from "./discover.ts";
import { ConfigurationError, ModuleLoadError } from "./errors.ts";
import { loadModule } from "./load-module.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "lovage-files-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, text = ""): string {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

test.each([
  ["lovage.config.ts", "const seconds: number = 7; export default { taskTimeLimit: seconds };"],
  ["lovage.config.js", "export default { taskTimeLimit: 7 };"],
  ["lovage.config.mjs", "export const taskTimeLimit = 7;"],
  ["lovage.config.cjs", "module.exports = { taskTimeLimit: 7 };"],
  ["lovage.config.json", '{ "taskTimeLimit": 7 }'],
])("%s is read", (name, text) => {
  write("package.json", '{ "type": "module" }');
  const file = write(name, text);
  const layer = readConfigFile(root, undefined, "");
  expect(layer).toEqual({ origin: file, values: expect.objectContaining({ taskTimeLimit: 7 }) });
});

test("a file that was asked for is found with and without its ending, and its absence is an error", () => {
  const file = write("config/staging.cjs", "module.exports = { timezone: 'UTC' };");
  for (const asked of ["config/staging", "config/staging.cjs", file]) expect(readConfigFile(root, asked, "X")?.origin).toBe(file);
  expect(() => readConfigFile(root, "config/live", "CELERY_CONFIG_MODULE")).toThrow(ConfigurationError);
  expect(() => readConfigFile(root, "config/live", "CELERY_CONFIG_MODULE")).toThrow(
    /^CELERY_CONFIG_MODULE names the configuration file config\/live, which is neither in /,
  );
  expect(readConfigFile(root, undefined, "")).toBeUndefined();
});

test("a configuration file that fails is named", () => {
  const file = write("lovage.config.cjs", "module.exports = { broken ");
  expect(() => readConfigFile(root, undefined, "")).toThrow(ModuleLoadError);
  expect(() => readConfigFile(root, undefined, "")).toThrow(file);
});

test("modules of every kind load, TypeScript with imports that leave out the ending too", async () => {
  write("package.json", '{ "type": "module" }');
  write("part.ts", "export const part: string = 'ts';");
  expect(
    await loadModule(write("a.ts", "import { part } from './part'; enum Kind { A = 1 } export const all = part + Kind.A;")),
  ).toMatchObject({ all: "ts1" });
  expect(await loadModule(write("b.mjs", "export const all = await Promise.resolve('mjs');"))).toMatchObject({ all: "mjs" });
  expect(await loadModule(write("c.cjs", "exports.all = 'cjs';"))).toMatchObject({ all: "cjs" });
});

test("a module that fails to load is named, and is run once only", async () => {
  const counter = globalThis as { lovageLoads?: number };
  counter.lovageLoads = 0;
  const file = write("bad.ts", "(globalThis as any).lovageLoads++; throw new Error('boom');");
  await expect(loadModule(file)).rejects.toThrow(`cannot load ${file}: Error: boom`);
  expect(counter.lovageLoads).toBe(1);
  const syntax = write("tasks.ts", "export const = 1;");
  await expect(loadModule(syntax)).rejects.toBeInstanceOf(ModuleLoadError);
  await expect(loadModule(syntax)).rejects.toThrow(syntax);
});

test("task modules are found by glob, without installed packages, declarations and twins", async () => {
  for (const path of [
    "tasks.ts",
    "a/tasks.ts",
    "a/tasks.js",
    "a/b/tasks.mjs",
    "a/tasks.d.ts",
    "a/other.ts",
    "node_modules/x/tasks.ts",
    ".git/tasks.ts",
  ])
    write(path);
  const found = await discover(root, ["**/tasks.{ts,js,mjs,cjs}"], ".ts");
  expect(found.map((file) => file.slice(root.length + 1))).toEqual(["a/b/tasks.mjs", "a/tasks.ts", "tasks.ts"]);
  const compiled = await discover(root, ["**/tasks.{ts,js}"], ".js");
  expect(compiled.map((file) => file.slice(root.length + 1))).toEqual(["a/tasks.js", "tasks.ts"]);
});

test("globs of paths", () => {
  expect(expandBraces("a.{ts,m{js,ts}}").length).toBeGreaterThan(1);
  expect(pathGlob("src/**/tasks.ts").test("src/tasks.ts")).toBe(true);
  expect(pathGlob("src/**/tasks.ts").test("src/a/b/tasks.ts")).toBe(true);
  expect(pathGlob("src/*/tasks.ts").test("src/a/b/tasks.ts")).toBe(false);
  expect(pathGlob("src/ta?ks.ts").test("src/taXks.ts")).toBe(true);
  expect(pathGlob("./a+b/(x).ts").test("a+b/(x).ts")).toBe(true);
});

test("an app's root is the folder of the nearest package.json above its module", () => {
  write("package.json", "{}");
  const module = write("src/deep/app.ts");
  expect(locateApp(module)).toEqual({ module, root });
});

test("the caller of a constructor is known by its file", () => {
  class Base {
    readonly file: string | undefined;
    constructor() {
      this.file = callerFile(new.target);
    }
  }
  class Derived extends Base {}
  expect(new Base().file).toBe(fileURLToPath(import.meta.url));
  expect(new Derived().file).toBe(new Base().file);
});
