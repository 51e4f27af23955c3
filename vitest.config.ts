import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const core = "packages/core";

/** One project for each depth of test; `npm test -- --project unit` runs one of them. */
export default defineConfig({
  test: {
    // Most of these tests wait for a server or a process, not for the processor: two files at once also on two cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    reporters: ["default", "./scripts/closing-line-reporter.mjs"],
    projects: [
      { test: { name: "unit", include: [`${core}/src/**/*.test.ts`, "examples/*/src/**/*.test.ts"], testTimeout: 30_000 } },
      { test: { name: "golden", include: [`${core}/test/golden/**/*.test.ts`], testTimeout: 30_000 } },
      { test: { name: "conformance", include: [`${core}/test/conformance/**/*.test.ts`], testTimeout: 30_000 } },
      { test: { name: "simulation", include: [`${core}/test/simulation/**/*.test.ts`], testTimeout: 30_000 } },
      servers("integration", `${core}/test/integration/**/*.test.ts`, 60_000),
      servers("interop", `${core}/test/interop/**/*.test.ts`, 120_000),
      servers("fault", `${core}/test/fault/**/*.test.ts`, 180_000, [`${core}/test/support/no-unhandled-rejections.ts`]),
      servers("examples", "examples/*/test/**/*.test.ts", 120_000),
      servers("docs", "docs/test/**/*.test.ts", 120_000),
    ],
  },
});

/** Tests that start servers and processes: in processes of their own. */
function servers(name: string, include: string, testTimeout: number, setupFiles: string[] = []) {
  return { test: { name, include: [include], pool: "forks" as const, testTimeout, hookTimeout: 120_000, setupFiles } };
}
