/** The measured figures as tables for `docs/performance.md`, and how they stand against the goals. */
import { readFile, writeFile } from "node:fs/promises";
import { goals } from "./goals.mjs";
import { medians } from "./statistics.mjs";

const workloadTitles = {
  W1a: "W1a enqueue, each awaited",
  W1b: "W1b enqueue, 100 at a time",
  W1c: "W1c enqueue, 1,000 a call",
  W2: "W2 drain, results off",
  W2r: "W2r drain, results stored",
  W3: "W3 producer and worker",
};

/** Puts the tables between the marks in `docs/performance.md`. */
export async function updateDocs(tables) {
  const page = new URL("../../docs/performance.md", import.meta.url);
  const text = await readFile(page, "utf8");
  const marks = /<!-- measured -->[\s\S]*<!-- \/measured -->/;
  await writeFile(
    page,
    text.replace(marks, () => `<!-- measured -->\n\n${tables}\n<!-- /measured -->`),
  );
}

/** Markdown. */
export function report(run) {
  const cells = summarise(run);
  const parts = [
    `${run.date.slice(0, 10)}, ${run.machine}, Node ${run.node}, Redis ${run.redis}; medians of ${rounds(run)} rounds.`,
    `Versions: ${Object.entries(run.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}.`,
    `Command: \`${run.command}\``,
    section("Tasks a second", throughput(cells, run)),
    section("Processor time of a task, in microseconds", processorTime(cells, run)),
    section(
      "Latency of an idle system, in milliseconds",
      plain(cells, "W4", {
        startP50: "start p50",
        startP99: "start p99",
        resultP50: "result p50",
        resultP99: "result p99",
        laterP50: "result p50, ten times as many tasks later",
        laterP99: "p99",
      }),
    ),
    section("Workflows of 1,000 tasks, in milliseconds", workflows(cells)),
    section(
      "Memory",
      plain(cells, "W5", {
        startMb: "worker at start, MB",
        afterMb: "after the first tasks, MB",
        peakMb: "peak, MB",
        storeBytes: "bytes in Redis a queued task",
      }),
    ),
    section(
      "Recovery after kill -9",
      plain(cells, "W7", { recoveredS: "all done after, s", lost: "tasks lost", repeated: "tasks repeated" }),
    ),
    section(
      "Cold start, in milliseconds",
      plain(cells, "W9", { readyMs: "worker ready", firstMs: "first task started", importMs: "its imports" }),
    ),
    section("One idle worker", plain(cells, "idle-worker", { corePercent: "% of a core" })),
    section(
      "200 idle workers on one queue",
      plain(cells, "idle-fleet", {
        quietCommandsPerWorkerSecond: "no messages: commands a second a worker",
        quietStorePercent: "Redis, % of a core",
        commandsPerMessage: "100 messages a second: commands a message",
        reservesPerMessage: "reserves a message",
        storeMsPerMessage: "Redis ms a message",
      }),
    ),
    section("Goals", goalTable(cells)),
    run.left.length > 0
      ? section(
          "Left out",
          run.left.map(({ workload, system, reason }) => `- ${system}${workload ? ` in ${workload}` : ""}: ${reason}`).join("\n"),
        )
      : "",
  ];
  return parts.filter(Boolean).join("\n\n") + "\n";
}

/** Medians by workload and by what was run there. */
export function summarise(run) {
  const groups = groupBy(run.rows, keyOf);
  return [...groups.values()].map((rows) => {
    const { workload, system, title, count } = rows[0];
    const measured = medians(rows.map(({ workload: _w, system: _s, title: _t, round: _r, count: _c, ...rest }) => rest));
    return { workload, system, title, count, measured };
  });
}

function throughput(cells, run) {
  const present = ["W1a", "W1b", "W1c", "W2", "W2r", "W3"].filter((id) => cells.some((cell) => cell.workload === id));
  if (present.length === 0) return "";
  const rows = titlesOf(cells, present).map((title) => [
    title,
    ...present.map((id) => rate(find(cells, id, title)?.measured.perSecond) ?? whyLeft(run, id, title)),
  ]);
  return table(["", ...present.map((id) => workloadTitles[id])], rows);
}

function workflows(cells) {
  const titles = { W10: "W10 chord, or flow", W11: "W11 chain" };
  const present = Object.keys(titles).filter((id) => cells.some((cell) => cell.workload === id));
  if (present.length === 0) return "";
  const figures = (id, title) => {
    const { workflowMs, cpuMs } = find(cells, id, title)?.measured ?? {};
    return [figure(workflowMs), figure(cpuMs)];
  };
  const rows = titlesOf(cells, present).map((title) => [title, ...present.flatMap((id) => figures(id, title))]);
  return table(["", ...present.flatMap((id) => [titles[id], "worker and store, processor time"])], rows);
}

function processorTime(cells) {
  const present = ["W1a", "W1b", "W1c", "W2", "W2r", "W3"].filter((id) => cells.some((cell) => cell.workload === id));
  if (present.length === 0) return "";
  const parts = (measured) => {
    if (!measured) return "";
    const { producerMicros, workerMicros, storeMicros } = measured;
    return [producerMicros, workerMicros, storeMicros || undefined]
      .filter((part) => part !== undefined)
      .map(micros)
      .join(" + ");
  };
  const rows = titlesOf(cells, present).map((title) => [title, ...present.map((id) => parts(find(cells, id, title)?.measured))]);
  return `Producer or worker (in W3 both), then Redis.\n\n${table(["", ...present], rows)}`;
}

function plain(cells, workload, columns) {
  const rows = cells.filter((cell) => cell.workload === workload);
  if (rows.length === 0) return "";
  return table(
    ["", ...Object.values(columns)],
    rows.map(({ title, measured }) => [title, ...Object.keys(columns).map((name) => figure(measured[name]))]),
  );
}

function goalTable(cells) {
  const rows = goals.flatMap((goal) => {
    const ours = cells.find((cell) => cell.workload === goal.workload && cell.system === goal.ours)?.measured[goal.measure];
    const theirs = bestOf(cells, goal);
    if (ours === undefined || !theirs) return [];
    const ratio = ours / theirs.value;
    const met = goal.atMost === undefined ? ratio >= goal.atLeast : ratio <= goal.atMost;
    const bound = goal.atMost === undefined ? `at least ${goal.atLeast}x` : `at most ${goal.atMost}x`;
    return [[`${goal.workload} ${goal.title}`, theirs.title, bound, `${ratio.toPrecision(3)}x`, met ? "yes" : "**no**"]];
  });
  return rows.length === 0 ? "" : table(["", "against", "goal", "measured", "met"], rows);
}

/** A peer that was run in several settings counts with its best. */
function bestOf(cells, goal) {
  const peers = cells
    .filter((cell) => cell.workload === goal.workload && goal.peers.includes(cell.system))
    .map((cell) => ({ title: cell.title, value: cell.measured[goal.measure] }));
  return peers.toSorted((a, b) => (goal.atMost === undefined ? b.value - a.value : a.value - b.value))[0];
}

const keyOf = (row) => `${row.workload}/${row.title}`;
const find = (cells, workload, title) => cells.find((cell) => cell.workload === workload && cell.title === title);
const titlesOf = (cells, workloads) => [...new Set(cells.filter((cell) => workloads.includes(cell.workload)).map((cell) => cell.title))];
const rounds = (run) => Math.max(0, ...run.rows.map((row) => row.round));
const rate = (value) => (value === undefined ? undefined : Math.round(Number(value.toPrecision(3))).toLocaleString("en"));
const micros = (value) => (value < 10 ? value.toFixed(1) : value.toFixed(0));
const section = (title, body) => (body ? `## ${title}\n\n${body}` : "");

function whyLeft(run, workload, title) {
  const system = run.rows.find((row) => row.title === title)?.system;
  return run.left.find((left) => left.workload === workload && left.system === system)?.reason ?? "";
}

function figure(value) {
  if (value === undefined || value === null || Number.isNaN(value)) return "never";
  return value < 10 ? String(Number(value.toPrecision(2))) : Math.round(value).toLocaleString("en");
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}
