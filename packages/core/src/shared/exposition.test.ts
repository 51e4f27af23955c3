import { expect, test } from "vitest";
import { Exposition } from "./exposition.ts";

test("writes what Prometheus reads, with cumulative buckets and escaped labels", () => {
  const page = new Exposition();
  page.counter("c_total", 'Back\\slash\nand "quotes".', [[{ task: 'a"b\\c\nd' }, 3]]);
  page.gauge("g", "A gauge.", [[{}, 0.25]]);
  page.gauge("none", "Nothing is known.", []);
  page.histogram("h_seconds", "A histogram.", [0.1, 1], [[{ queue: "q" }, { counts: [2, 0, 1], sum: 5.5 }]]);
  expect(page.toString()).toBe(
    [
      '# HELP c_total Back\\\\slash\\nand "quotes".',
      "# TYPE c_total counter",
      'c_total{task="a\\"b\\\\c\\nd"} 3',
      "# HELP g A gauge.",
      "# TYPE g gauge",
      "g 0.25",
      "# HELP h_seconds A histogram.",
      "# TYPE h_seconds histogram",
      'h_seconds_bucket{queue="q",le="0.1"} 2',
      'h_seconds_bucket{queue="q",le="1"} 2',
      'h_seconds_bucket{queue="q",le="+Inf"} 3',
      'h_seconds_sum{queue="q"} 5.5',
      'h_seconds_count{queue="q"} 3',
      "",
    ].join("\n"),
  );
});
