/** `lovage parked flush`: what was put aside until its time goes back to its queue at once. */
import { UnsupportedByBrokerError } from "../../app/errors.ts";
import { defineCommand } from "../command.ts";
import { reachBroker } from "../reach.ts";
import { countOf } from "../../shared/count-of.ts";

export const parked = defineCommand({
  options: {},
  arguments: [
    { name: "action", description: "flush", required: true, choices: ["flush"] },
    { name: "queue", description: "only what came from this queue", required: false },
  ],
  examples: ["lovage -A ./src/app.ts parked flush", "lovage -b redis://127.0.0.1:6379/0 parked flush reports"],
  async run({ openApp, output }, _, [, queue]) {
    const broker = await reachBroker(await openApp());
    if (broker.delayed === undefined) throw new UnsupportedByBrokerError("parking", broker.kind);
    const flushed = await broker.delayed.flush(queue);
    output.answer({ queue: queue ?? null, flushed }, () => `${countOf(flushed, "message")} returned`);
  },
});
