import { expect, test } from "vitest";
import { drawChart } from "./chart.ts";
import type { Report } from "./report.ts";

function report(months: readonly (readonly [string, string])[], amount = "sales"): Report {
  const extreme = { amount: "0", date: "2024-01-01", line: 2 };
  return {
    rows: months.length,
    total: "0",
    smallest: extreme,
    largest: extreme,
    months: months.map(([name, total]) => ({ name, rows: 1, total })),
    categories: [],
    columns: { date: "date", amount, category: null },
    badRows: { count: 0, first: [] },
  };
}

/** The bars' names and totals, as a reader of the chart is told them. */
const bars = (svg: string) => [...svg.matchAll(/<rect [^>]*><title>([^<]*)<\/title>/g)].map((match) => match[1]);
const heights = (svg: string) => [...svg.matchAll(/height="([\d.]+)"><title>/g)].map((match) => Number(match[1]));

test("a bar for each month, also for those without rows", () => {
  const svg = drawChart(
    report([
      ["2023-11", "10.50"],
      ["2024-02", "5.25"],
    ]),
  );
  expect(bars(svg)).toEqual(["2023-11: 10.50", "2023-12: 0", "2024-01: 0", "2024-02: 5.25"]);
  const [tall = 0, none, , half = 0] = heights(svg);
  expect(half).toBeCloseTo(tall / 2, 0);
  expect(none).toBeLessThan(1);
});

test("amounts below zero hang from the base line", () => {
  const svg = drawChart(
    report([
      ["2024-01", "10"],
      ["2024-02", "-10"],
    ]),
  );
  const tops = [...svg.matchAll(/y="([\d.]+)" width="[\d.]+" height="([\d.]+)"><title>/g)].map((match) => [
    Number(match[1]),
    Number(match[2]),
  ]);
  const [[up = 0, high = 0] = [], [down = 0, low = 0] = []] = tops;
  expect(up + high).toBeCloseTo(down, 0);
  expect(high).toBeCloseTo(low, 0);
});

test("many months are drawn as years", () => {
  const svg = drawChart(
    report([
      ["2010-01", "1"],
      ["2010-02", "2"],
      ["2019-12", "4"],
    ]),
  );
  expect(bars(svg)).toHaveLength(10);
  expect(bars(svg)[0]).toBe("2010: 3");
});

test.each([
  ["only zero", "0"],
  ["huge", "999999999999999"],
  ["tiny", "0.000000001"],
])("an amount that is %s leaves no NaN in the drawing", (_, total) => {
  expect(drawChart(report([["2024-01", total]]))).not.toMatch(/NaN|Infinity/);
});

test("a heading from the file cannot become markup", () => {
  const svg = drawChart(report([["2024-01", "1"]], `<script>alert("1")</script>&\u0001`));
  expect(svg).not.toContain("<script>");
  expect(svg).toContain("&#60;script&#62;");
  expect(svg).not.toContain("\u0001");
});
