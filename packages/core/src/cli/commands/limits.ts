/** `lovage limits`: what all workers together allow, and what waits for it; changes it while they run. */
import type { LimitReport } from "../../app/limits.ts";
import { defineCommand } from "../command.ts";
import { UsageError } from "../errors.ts";
import { EXIT } from "../exit-codes.ts";
import { durationMs, flag, rate, text, wholeNumber } from "../option-kinds.ts";
import { reachBroker } from "../reach.ts";
import { tableLines, type Column } from "../table.ts";

const ACTIONS = ["list", "set", "clear", "hold"] as const;

export const limits = defineCommand({
  options: {
    rate: rate("--rate <rate>", "starts per time: 100/s, 30/m, 5/h"),
    burst: wholeNumber("--burst <number>", "starts that may come at once after a pause", 1),
    concurrency: wholeNumber("--concurrency <number>", "tasks at once; 0 lets none start", 0),
    none: flag("--none", "with set: no limit at all, whatever the code says"),
    key: text("--key <key>", "only this key of the limit"),
    for: durationMs("--for <duration>", "with hold: nothing starts for so long, such as 30s or 5m"),
  },
  arguments: [
    {
      name: "action",
      description: "list; set: from now on instead of what the code says; clear: as the code says again; hold: start nothing for a while",
      required: true,
      choices: ACTIONS,
    },
    { name: "name", description: "task:<name>, queue:<name>, or the name that a limit was given", required: false },
  ],
  examples: [
    "lovage -A ./src/app.ts limits list",
    "lovage -A ./src/app.ts limits set task:images.resize --rate 50/s --concurrency 8",
    "lovage -A ./src/app.ts limits set api --rate 10/s --key customer7",
    "lovage -A ./src/app.ts limits hold api --for 5m",
    "lovage -A ./src/app.ts limits clear api",
  ],
  async run({ openApp, output }, options, [action, name]) {
    const { rate: perSecond, burst, concurrency, none, key, for: forMs } = options;
    const numbers = {
      ...(perSecond !== undefined && { rate: perSecond }),
      ...(burst !== undefined && { burst }),
      ...(concurrency !== undefined && { concurrency }),
    };
    const isAnyNumber = Object.keys(numbers).length > 0;
    if (action !== "list" && name === undefined)
      throw new UsageError(`limits ${action} needs the name of a limit`, "`lovage limits list` names them");
    if (action === "set" && isAnyNumber === none) throw new UsageError("limits set takes numbers or --none", "for example --rate 10/s");
    if (action === "hold" && forMs === undefined) throw new UsageError("limits hold needs --for", "for example --for 5m");
    const app = await openApp();
    await reachBroker(app);
    if (action === "list" || name === undefined) {
      const found = (await app.limits.list()).filter((limit) => name === undefined || limit.name === name);
      const document = found.map((limit) => ({
        ...limit,
        key: limit.key ?? null,
        ratePerSecond: limit.ratePerSecond ?? null,
        concurrency: limit.concurrency ?? null,
      }));
      output.answer(document, (colors) => (found.length === 0 ? "there are no limits" : tableLines(found, COLUMNS, colors)));
      return EXIT.ok;
    }
    const target = key === undefined ? {} : { key };
    if (action === "set") await app.limits.set(name, none ? null : numbers, target);
    else if (action === "clear") await app.limits.clear(name, target);
    else await app.limits.hold(name, (forMs ?? 0) / 1000, target);
    output.answer({ name, key: key ?? null, done: action }, () => `${name}${key === undefined ? "" : ` of ${key}`}: ${DONE[action] ?? ""}`);
    return EXIT.ok;
  },
});

const DONE: Readonly<Record<string, string>> = { set: "set", clear: "as the code says", hold: "held back" };

const COLUMNS: readonly Column<LimitReport>[] = [
  { title: "limit", cell: ({ name }) => name },
  { title: "key", cell: ({ key }) => key ?? "" },
  { title: "rate", align: "right", cell: ({ ratePerSecond }) => (ratePerSecond === undefined ? "" : rateText(ratePerSecond)) },
  { title: "burst", align: "right", cell: ({ burst }) => String(burst) },
  { title: "at once", align: "right", cell: ({ concurrency }) => (concurrency === undefined ? "" : String(concurrency)) },
  { title: "by", cell: ({ isSet }) => (isSet ? "hand" : "code") },
  { title: "waiting", align: "right", cell: ({ waiting }) => String(waiting) },
  { title: "running", align: "right", cell: ({ running }) => String(running) },
  { title: "next in", align: "right", cell: ({ nextStartInMs }) => (nextStartInMs === 0 ? "" : `${nextStartInMs} ms`) },
];

/** In the largest unit that makes it a number of whole starts. */
function rateText(perSecond: number): string {
  for (const [unit, seconds] of [
    ["s", 1],
    ["m", 60],
    ["h", 3600],
  ] as const) {
    const count = perSecond * seconds;
    if (Math.abs(count - Math.round(count)) < 1e-6 && count >= 1) return `${Math.round(count)}/${unit}`;
  }
  return `${perSecond.toPrecision(3)}/s`;
}
