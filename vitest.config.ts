import { defineConfig } from "vitest/config";

const core = "packages/core";

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: [`${core}/src/**/*.test.ts`] } },
      { test: { name: "conformance", include: [`${core}/test/conformance/**/*.test.ts`], testTimeout: 30_000 } },
      { test: { name: "golden", include: [`${core}/test/golden/**/*.test.ts`] } },
      { test: { name: "integration", include: [`${core}/test/integration/**/*.test.ts`], pool: "forks", testTimeout: 60_000, hookTimeout: 60_000 } },
      { test: { name: "fault", include: [`${core}/test/fault/**/*.test.ts`], pool: "forks", testTimeout: 180_000, hookTimeout: 60_000 } },
      { test: { name: "interop", include: [`${core}/test/interop/**/*.test.ts`], pool: "forks", testTimeout: 120_000, hookTimeout: 120_000 } },
      { test: { name: "examples", include: ["examples/**/*.test.ts"], pool: "forks", testTimeout: 120_000, hookTimeout: 60_000 } },
    ],
  },
});
