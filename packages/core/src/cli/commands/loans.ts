/** `lovage loans`: which workers hold messages, until when; and takes them from one that will not come back. */
import { UnsupportedByBrokerError } from "../../app/errors.ts";
import type { LeaseInfo } from "../../brokers/broker.ts";
import { defineCommand } from "../command.ts";
import { UsageError } from "../errors.ts";
import { EXIT } from "../exit-codes.ts";
import { reachBroker } from "../reach.ts";
import { tableLines, type Column } from "../table.ts";
import { countOf } from "../../shared/count-of.ts";

export const loans = defineCommand({
  options: {},
  arguments: [
    {
      name: "action",
      description: "list, or release: give a worker's messages back at once",
      required: true,
      choices: ["list", "release"],
    },
    { name: "worker", description: "as `loans list` names it", required: false },
  ],
  examples: ["lovage -A ./src/app.ts loans list", "lovage loans release w1@host-3f2a"],
  async run({ openApp, output }, _, [action, worker]) {
    if (action === "release" && worker === undefined)
      throw new UsageError("loans release needs a worker", "`lovage loans list` names them");
    const { leases, kind } = await reachBroker(await openApp());
    if (leases === undefined) throw new UnsupportedByBrokerError("a list of loans", kind);
    const held = await leases.list();
    if (action === "list") {
      const document = held.map((lease) => ({ worker: lease.worker, loans: lease.loans, endsAt: new Date(lease.endsAt).toISOString() }));
      output.answer(document, (colors) => (held.length === 0 ? "no worker holds a lease" : tableLines(held, COLUMNS, colors)));
      return EXIT.ok;
    }
    const chosen = held.find((lease) => lease.worker === worker);
    if (worker === undefined || chosen === undefined) {
      output.problem(`no worker ${worker} holds a lease`);
      return EXIT.failure;
    }
    const released = await leases.release(worker);
    output.answer({ worker, released }, () => `${countOf(released, "message")} of ${worker} returned`);
    return EXIT.ok;
  },
});

const COLUMNS: readonly Column<LeaseInfo>[] = [
  { title: "worker", cell: ({ worker }) => worker },
  { title: "loans", align: "right", cell: ({ loans: count }) => String(count) },
  { title: "lease ends", cell: ({ endsAt }) => new Date(endsAt).toISOString() },
];
