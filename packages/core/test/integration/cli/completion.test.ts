/** Completion scripts, run by the shells themselves where these are installed. */
import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { Project } from "./project.ts";

const has = (shell: string): boolean => spawnSync(shell, ["--version"]).status === 0;

async function script(shell: string): Promise<string> {
  await using project = new Project();
  const { stdout, code, stderr } = await project.run(["completion", shell]);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
}

/** What bash offers after these words, the last of which is being typed. */
function bashOffers(source: string, ...words: string[]): string[] {
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const program = `${source}\nCOMP_WORDS=(lovage ${quoted}); COMP_CWORD=${words.length}; _lovage 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["-c", program], { encoding: "utf8" }).split("\n").filter((word) => word !== ""); // prettier-ignore
}

test.skipIf(!has("bash"))("bash offers commands, options and their values", async () => {
  const source = await script("bash");
  expect(bashOffers(source, "wo")).toEqual(["worker", "workflow"]);
  expect(bashOffers(source, "")).toEqual(expect.arrayContaining(["worker", "call", "--app", "-A"]));
  expect(bashOffers(source, "-A", "src/app.ts", "qu")).toEqual(["queues"]);
  expect(bashOffers(source, "worker", "--queues")).toEqual(["--queues"]);
  expect(bashOffers(source, "worker", "-P", "ge")).toEqual(["gevent"]);
  expect(bashOffers(source, "-A", "x", "worker", "-l", "de")).toEqual(["debug"]);
  expect(bashOffers(source, "worker", "-Q", "")).toEqual([]);
  expect(bashOffers(source, "worker", "--autosc")).toEqual(["--autoscale"]);
  expect(bashOffers(source, "worker", "--pidf")).toEqual([]);
  expect(bashOffers(source, "completion", "z")).toEqual(["zsh"]);
  expect(bashOffers(source, "purge", "--co")).toEqual(["--config"]);
});

test.skipIf(!has("zsh"))("zsh understands its script", async () => {
  const checked = spawnSync("zsh", ["-n", "-c", await script("zsh")], { encoding: "utf8" });
  expect([checked.status, checked.stderr]).toEqual([0, ""]);
});

test.skipIf(!has("fish"))("fish offers commands and values", async () => {
  const source = await script("fish");
  const offers = execFileSync("fish", ["-c", `${source}\ncomplete -C 'lovage worker -P ge'`], { encoding: "utf8" });
  expect(offers).toContain("gevent");
});

test("a shell that is not known is refused", async () => {
  await using project = new Project();
  expect(await project.run(["completion", "tcsh"])).toMatchObject({ code: 2, stderr: expect.stringContaining("bash, zsh, fish") });
});
