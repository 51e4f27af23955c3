import { dropMemoryBackend, openMemoryBackend } from "../../src/results/memory/index.ts";
import { systemClock } from "../../src/shared/clock.ts";
import { newId } from "../../src/shared/ids.ts";
import { Kept } from "../support/kept.ts";
import { resultBackendConformance } from "./result-backend.ts";

resultBackendConformance("memory", async () => {
  const kept = new Kept();
  const spec = { kind: "memory", name: newId() } as const;
  kept.keep({ [Symbol.asyncDispose]: async () => dropMemoryBackend(spec.name) });
  return {
    open: async () => kept.keep(await openMemoryBackend(spec, { clock: systemClock })),
    [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose](),
  };
});
