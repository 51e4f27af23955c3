/** The packed package in an empty project, as `npm install` would lay it out: from TypeScript, ES modules and CommonJS. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../../../../../", import.meta.url));
const core = join(root, "packages/core");
const example = join(root, "examples/getting-started");

let folder: string;

beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "lovage-packed-")));
  const [{ filename }] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--loglevel=error", "--pack-destination", folder], { cwd: core, encoding: "utf8" }),
  ) as [{ filename: string }];
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, ".bin"), { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, filename), "-C", folder]);
  cpSync(join(folder, "package"), join(modules, "lovage"), { recursive: true });
  rmSync(join(folder, "package"), { recursive: true });
  // Everything else that is installed is at hand as well; only `lovage` itself must be the packed one.
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (name !== "lovage" && !name.startsWith(".")) symlinkSync(join(root, "node_modules", name), join(modules, name));
  }
  symlinkSync("../lovage/dist/cli/main.js", join(modules, ".bin/lovage"));
  for (const file of readdirSync(example)) if (/^(tasks|send)\./.test(file)) cpSync(join(example, file), join(folder, file));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const environment = { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: "1" };

/** A worker of one of the example's modules, up when it says so. */
async function startWorker(module: string): Promise<ChildProcess> {
  const worker = spawn(join(folder, "node_modules/.bin/lovage"), ["-A", module, "worker", "-l", "INFO"], {
    cwd: folder,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  await new Promise<void>((resolve, reject) => {
    const listen = (chunk: Buffer): void => {
      output += chunk.toString();
      if (/ready/.test(output)) resolve();
    };
    worker.stdout?.on("data", listen);
    worker.stderr?.on("data", listen);
    worker.once("exit", (code) => reject(new Error(`the worker exited with ${code}:\n${output}`)));
  });
  return worker;
}

describe.each([
  { module: "tasks.ts", send: ["--import", "jiti/register", "send.ts"], lines: ["2 + 3 = 5", "invoice of 1650 cents"] },
  { module: "tasks.mjs", send: ["send.mjs"], lines: ["2 + 3 = 5"] },
  { module: "tasks.cjs", send: ["send.cjs"], lines: ["2 + 3 = 5"] },
])("getting started with $module", ({ module, send, lines }) => {
  test("a worker runs what the script sends, on the embedded broker", async () => {
    const worker = await startWorker(module);
    try {
      const output = execFileSync(process.execPath, send, {
        cwd: folder,
        env: environment,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
        timeout: 40_000,
      });
      for (const line of lines) expect(output.split("\n")).toContain(line);
    } finally {
      const gone = once(worker, "exit");
      worker.kill("SIGTERM");
      await gone;
    }
  });
});

test("a TypeScript project that uses it compiles in strict mode, and types travel from task to result", () => {
  writeFileSync(
    join(folder, "typed.ts"),
    `import { add, invoice } from "./tasks.ts";
const sum: number = await (await add.delay(1, 2)).get();
const made: { order: string; total: number } = await (await invoice.delay("A", [])).get();
// @ts-expect-error a string is not a number
await add.delay("1", 2);
console.log(sum, made);
`,
  );
  const options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2023", "--allowImportingTsExtensions", "typed.ts"];
  expect(() =>
    execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), ...options], {
      cwd: folder,
      encoding: "utf8",
      stdio: "pipe",
    }),
  ).not.toThrow();
});
