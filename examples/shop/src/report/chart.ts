/** Draws a report's totals over time as an SVG: one bar a month, or a year when the months would be too many to tell apart. */
import type { Report } from "./report.ts";
import type { Group } from "./summary.ts";

const WIDTH = 960;
const HEIGHT = 360;
const PLOT = { left: 72, right: 944, top: 48, bottom: 316 };
const MOST_BARS = 72;
const LABEL_WIDTH = 64;
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });

/** A whole SVG document. Whatever the file called its columns is escaped. */
export function drawChart(report: Report): string {
  const months = everyMonth(report.months);
  const [unit, bars] = months.length > MOST_BARS ? (["year", byYear(months)] as const) : (["month", months] as const);
  const heading = `${report.columns.amount} by ${unit}`;
  const scale = valueScale(bars.map((bar) => bar.value));
  const y = (value: number) => round(PLOT.bottom - ((value - scale.min) / (scale.max - scale.min)) * (PLOT.bottom - PLOT.top));
  const slot = (PLOT.right - PLOT.left) / bars.length;
  const every = Math.ceil(LABEL_WIDTH / slot);

  const lines = scale.ticks.map(
    (tick) =>
      `<line x1="${PLOT.left}" x2="${PLOT.right}" y1="${y(tick)}" y2="${y(tick)}" class="${tick === 0 ? "base" : "grid"}"/>` +
      `<text x="${PLOT.left - 10}" y="${y(tick) + 4}" text-anchor="end">${COMPACT.format(tick)}</text>`,
  );
  const columns = bars.map(({ name, value, total }, index) => {
    const [top, bottom] = [y(Math.max(value, 0)), y(Math.min(value, 0))];
    const x = round(PLOT.left + index * slot + slot * 0.14);
    return `<rect x="${x}" y="${top}" width="${round(slot * 0.72)}" height="${round(Math.max(bottom - top, 0.5))}"><title>${escape(`${name}: ${total}`)}</title></rect>`;
  });
  const names = bars
    .map(
      ({ name }, index) =>
        `<text x="${round(PLOT.left + (index + 0.5) * slot)}" y="${PLOT.bottom + 22}" text-anchor="middle">${escape(name)}</text>`,
    )
    .filter((_, index) => index % every === 0);

  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="title">`,
    `<title id="title">${escape(`Bar chart of ${heading}, ${bars[0]?.name} to ${bars.at(-1)?.name}`)}</title>`,
    `<style>text{font:13px system-ui,sans-serif;fill:#3d4a44}.heading{font-size:16px;font-weight:600;fill:#17211c}rect{fill:#2c7a57}.grid{stroke:#dfe6e2}.base{stroke:#8a9891}</style>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" style="fill:#fff"/>`,
    `<text x="${PLOT.left}" y="26" class="heading">${escape(heading)}</text>`,
    ...lines,
    ...columns,
    ...names,
    `</svg>`,
  ].join("\n");
}

interface Bar {
  readonly name: string;
  readonly value: number; // for drawing only: a hair's breadth of rounding is not seen
  readonly total: string;
}

/** Months without rows keep their place, so that equal distances are equal times. */
function everyMonth(months: readonly Group[]): readonly Bar[] {
  const totals = new Map(months.map((month) => [month.name, month.total]));
  const last = months.at(-1)?.name ?? "";
  const bars: Bar[] = [];
  for (let name = months[0]?.name ?? "~"; name <= last; name = nextMonth(name)) {
    const total = totals.get(name) ?? "0";
    bars.push({ name, total, value: Number(total) });
  }
  return bars;
}

function byYear(months: readonly Bar[]): readonly Bar[] {
  const years = new Map<string, number>();
  for (const { name, value } of months) years.set(name.slice(0, 4), (years.get(name.slice(0, 4)) ?? 0) + value);
  return [...years].map(([name, value]) => ({ name, value, total: COMPACT.format(value) }));
}

function nextMonth(name: string): string {
  const [year = 0, month = 0] = name.split("-").map(Number);
  return month === 12 ? `${year + 1}-01` : `${year}-${String(month + 1).padStart(2, "0")}`;
}

/** Round numbers around the values and zero, five or so. */
function valueScale(values: readonly number[]): { readonly min: number; readonly max: number; readonly ticks: readonly number[] } {
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const rough = (high - low || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
  return { min: first * step, max: last * step, ticks };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replace(/\p{Cc}/gu, " ").replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
