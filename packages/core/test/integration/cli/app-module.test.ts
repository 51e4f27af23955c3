/** `-A`: how the app is found, and what is said when it is not. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Project } from "./project.ts";

const OTHER = 'import { Lovage } from "lovage";\nexport const first = new Lovage("first");\nexport const second = new Lovage("second");\n';

async function appName(project: Project, argument: string, cwd?: string): Promise<unknown> {
  const finished = await project.run(["-A", argument, "report", "--json"], cwd === undefined ? {} : { cwd });
  if (finished.code !== 0) throw new Error(finished.stderr);
  return (JSON.parse(finished.stdout) as { app: unknown }).app;
}

test("a module is named by its path, with or without its ending, as a directory, or as Python has it", async () => {
  await using project = new Project();
  for (const argument of ["./src/app.ts", "src/app.ts", "src/app", "src", "src.app", "src/app:app", `${project.directory}/src/app.ts`]) {
    expect(await appName(project, argument)).toBe("shop");
  }
});

test("TypeScript, ES modules and CommonJS are loaded alike", async () => {
  await using project = new Project({
    "a.mjs": 'import { Lovage } from "lovage";\nexport default new Lovage("esm");\n',
    "b.cjs": 'const { Lovage } = require("lovage");\nmodule.exports = { shop: new Lovage("cjs") };\n',
    "c.cjs": 'const { Lovage } = require("lovage");\nmodule.exports = new Lovage("alone");\n',
    "d.mts": 'import { Lovage } from "lovage";\nenum Kind { A = "enum" }\nexport const app = new Lovage(Kind.A);\n',
  });
  expect(await Promise.all(["a.mjs", "b.cjs", "c.cjs", "d.mts"].map((file) => appName(project, file)))).toEqual([
    "esm",
    "cjs",
    "alone",
    "enum",
  ]);
});

test("one of several exports is named after a colon", async () => {
  await using project = new Project({ "src/other.ts": OTHER });
  expect(await appName(project, "src/other:second")).toBe("second");
  const several = await project.run(["-A", "src/other", "report"]);
  expect(several).toMatchObject({ code: 66, stderr: expect.stringContaining("first, second") });
  const typo = await project.run(["-A", "src/other:secnd", "report"]);
  expect(typo).toMatchObject({ code: 66, stderr: expect.stringContaining('Did you mean "second"') });
});

test("LOVAGE_APP stands for -A, and --workdir for a change of directory", async () => {
  await using project = new Project();
  const { stdout } = await project.run(["--workdir", project.directory, "report", "--json"], { cwd: "/", env: { LOVAGE_APP: "src/app" } });
  expect(JSON.parse(stdout)).toMatchObject({ app: "shop" });
  expect(await project.run(["--workdir", "/no/such/place", "report"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("/no/such/place"),
  });
});

test("what is wrong with a module is said in a line with its path, and nothing is started", async () => {
  await using project = new Project({
    "src/broken.ts": "export const app = ;\n",
    "src/throws.ts": 'throw new RangeError("not today");\n',
    "src/none.ts": "export const app = 5;\n",
    "src/missing.ts": 'import "./nowhere.ts";\n',
  });
  for (const command of ["worker", "queues"]) {
    for (const [module, reason] of [
      ["src/ap", /no app module src\/ap .*\nhint: there is .*src\/app\.ts/],
      ["src/brokn", /hint: did you mean src\/broken\?/],
      ["lib/app", /directory lib does not exist/],
      ["src/broken", /cannot load .*src\/broken\.ts/],
      ["src/throws", /cannot load .*src\/throws\.ts: RangeError: not today/],
      ["src/none", /src\/none\.ts exports no app/],
      ["src/missing", /cannot load .*src\/missing\.ts.*nowhere/],
    ] as const) {
      const failed = await project.run(["-A", module, command]);
      expect(failed).toMatchObject({ code: 66, stdout: "" });
      expect(failed.stderr).toMatch(reason);
      expect(failed.stderr).not.toMatch(/^ +at /m);
    }
  }
  expect((await project.run(["-A", "src/throws", "worker", "--traceback"])).stderr).toMatch(/^ +at .*throws\.ts/m);
});

test("a command installed elsewhere hands over to the project's own copy", async () => {
  await using project = new Project();
  rmSync(join(project.directory, "node_modules/lovage"));
  project.write("node_modules/lovage/package.json", JSON.stringify({ name: "lovage", version: "0.0.1", type: "module" }));
  project.write("node_modules/lovage/dist/cli/main.js", 'console.log("the project\'s own copy", process.argv.slice(2).join(" "));\n');
  expect(await project.run(["worker", "-c", "3"])).toMatchObject({ code: 0, stdout: "the project's own copy worker -c 3\n" });
});
