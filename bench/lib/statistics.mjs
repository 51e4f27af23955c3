/** The middle value; the mean of the two middle ones when their number is even. NaN for no values. */
export function median(values) {
  return percentile(values, 50);
}

/** The value below which `percent` of the values lie, between two neighbours in proportion. NaN for no values. */
export function percentile(values, percent) {
  if (values.length === 0) return NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const at = ((sorted.length - 1) * percent) / 100;
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at % 1);
}

/** Of runs with the same measures, the median of each measure, and what is no number as the first run has it. */
export function medians(runs) {
  return Object.fromEntries(
    Object.entries(runs[0] ?? {}).map(([measure, first]) => [
      measure,
      typeof first === "number" ? median(runs.map((run) => run[measure])) : first,
    ]),
  );
}
