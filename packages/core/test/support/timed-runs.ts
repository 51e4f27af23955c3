/** Reads what `test.timed` wrote down: which runs of which task began and ended when, and in which process. */
export interface TimedRun {
  readonly index: number;
  /** ms since 1970. */
  readonly beganAt: number;
  /** undefined: interrupted. */
  readonly endedAt: number | undefined;
  readonly pid: number;
}

/** In the order in which they began. */
export function timedRuns(lines: readonly string[]): TimedRun[] {
  const events = lines.map((line) => {
    const [what, ...numbers] = line.split(" ");
    const [index = 0, at = 0, pid = 0] = numbers.map(Number);
    return { what, index, at, pid };
  });
  const ends = new Map(events.filter(({ what }) => what === "ended").map(({ index, at, pid }) => [`${index} ${pid}`, at]));
  return events
    .filter(({ what }) => what === "began")
    .map(({ index, at, pid }) => ({ index, beganAt: at, endedAt: ends.get(`${index} ${pid}`), pid }));
}

export function runsByTask(runs: readonly TimedRun[]): Map<number, TimedRun[]> {
  const byTask = new Map<number, TimedRun[]>();
  for (const run of runs) byTask.set(run.index, [...(byTask.get(run.index) ?? []), run]);
  return byTask;
}
