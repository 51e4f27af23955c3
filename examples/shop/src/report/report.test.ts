import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { CsvError } from "./csv.ts";
import { makeReport } from "./report.ts";

/** The text as a file that is read a few bytes at a time, so that every boundary falls inside something. */
async function* file(text: string | Uint8Array, step = 5): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text as string);
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

test("four years of weather in Seattle", async () => {
  const report = await makeReport(createReadStream(fileURLToPath(new URL("../../sample/seattle-weather.csv", import.meta.url))));
  // Figures by Python's csv and decimal modules from the same file.
  expect(report).toMatchObject({
    rows: 1461,
    total: "4426.0",
    smallest: { amount: "0.0", date: "2012-01-01", line: 2 },
    largest: { amount: "55.9", date: "2015-03-15", line: 1171 },
    columns: { date: "date", amount: "precipitation", category: "weather" },
    badRows: { count: 0, first: [] },
  });
  expect(report.months).toHaveLength(48);
  expect(report.months[0]).toEqual({ name: "2012-01", rows: 31, total: "173.3" });
  expect(report.months[47]).toEqual({ name: "2015-12", rows: 31, total: "284.5" });
  expect(Object.fromEntries(report.categories.map(({ name, total }) => [name, total]))).toEqual({
    rain: "4203.6",
    snow: "222.4",
    drizzle: "0.0",
    sun: "0.0",
    fog: "0.0",
  });
});

test("quotes, a byte order mark, CRLF, blank lines and letters beyond ASCII", async () => {
  const text =
    '\uFEFFwhen,"what, and where",price\r\n2024-01-01,"Tea ""Earl Grey"",\r\ntwo boxes","1,200.50"\r\n\r\n2024-02-01,Käse,0.25\r\n2024-02-02,Käse,-0.5';
  const report = await makeReport(file(text));
  expect(report).toMatchObject({ rows: 3, total: "1200.25", columns: { date: "when", amount: "price", category: "what, and where" } });
  expect(report.categories.map(({ name }) => name)).toEqual(['Tea "Earl Grey",\ntwo boxes', "Käse"]);
  expect(report.smallest).toEqual({ amount: "-0.50", date: "2024-02-02", line: 6 });
});

test.each([
  ["semicolons", "date;amount\n2024-01-01;2\n2024-01-02;3\n"],
  ["tabs", "date\tamount\n2024-01-01\t2\n2024-01-02\t3\n"],
])("a file with %s", async (_, text) => {
  expect(await makeReport(file(text))).toMatchObject({ rows: 2, total: "5", categories: [] });
});

test("rows that cannot be used are counted and named by line, and change no total", async () => {
  const text = 'date,amount\n2024-01-01,1\nyesterday,2\n2024-01-02\n2024-01-03,"1,5"\n,4\n2024-01-04,1\n2024-01-05,1\n';
  const report = await makeReport(file(text));
  expect(report.total).toBe("3");
  expect(report.badRows).toEqual({
    count: 4,
    first: [
      { line: 3, problem: "not a date: yesterday" },
      { line: 4, problem: "no amount" },
      { line: 5, problem: "not an amount: 1,5" },
      { line: 6, problem: "no date" },
    ],
  });
});

test("a column whose name says amount goes before other numbers", async () => {
  const report = await makeReport(file("id,day,quantity,total\n1,2024-01-01,3,9.99\n2,2024-01-02,1,0.01\n"));
  expect(report).toMatchObject({ total: "10.00", columns: { amount: "total" } });
});

test.each([
  ["nothing", "", /empty/],
  ["only a heading", "date,amount\n", /No column holds dates/],
  ["no dates", "a,b\n1,2\n", /No column holds dates/],
  ["no amounts", "a,b\n2024-01-01,x\n", /No column holds amounts/],
  ["a quote that never ends", 'date,amount\n2024-01-01,"2\n2024-01-02,3\n', /After line 1 a quote/],
  ["a row without end", `date,amount\n2024-01-01,${"9".repeat(70_000)}\n`, /64 KiB/],
  ["bytes that are no UTF-8", Uint8Array.of(97, 44, 98, 10, 0xff, 0xfe), /UTF-8/],
  ["a cut-off letter", Uint8Array.of(97, 44, 98, 10, 0xc3), /UTF-8/],
  ["a spreadsheet", Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 97, 98), /not a text file/],
])("%s is refused with a reason", async (_, content, reason) => {
  const refused = makeReport(file(content, 1024));
  await expect(refused).rejects.toThrow(CsvError);
  await expect(refused).rejects.toThrow(reason);
});

test("whatever is uploaded, the answer is a report or a CsvError", async () => {
  const piece = fc.constantFrom("date", "2024-01-01", "12.5", '"', ",", ";", "\n", "\r\n", "\uFEFF", "é", "\0", " ", "x");
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 40 }), async (pieces) => {
      const outcome = await makeReport(file(pieces.join(""), 3)).catch((error: unknown) => error);
      expect(outcome instanceof CsvError || (outcome as { rows: number }).rows > 0).toBe(true);
    }),
  );
});

test("months and categories each add up to the total", async () => {
  const row = fc.record({
    month: fc.integer({ min: 1, max: 12 }),
    cents: fc.integer({ min: -1_000_000, max: 1_000_000 }),
    kind: fc.constantFrom("a", "b", "c"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 4, maxLength: 50 }), async (rows) => {
      const lines = rows.map(({ month, cents, kind }) => `2024-${month}-1,${(cents / 100).toFixed(2)},${kind}`);
      const report = await makeReport(file(["date,amount,kind", ...lines].join("\n"), 64));
      const cents = (total: string) => Math.round(Number(total) * 100);
      const expected = rows.reduce((sum, next) => sum + next.cents, 0);
      expect(cents(report.total)).toBe(expected);
      expect(report.months.reduce((sum, month) => sum + cents(month.total), 0)).toBe(expected);
      const byKind = report.categories.reduce((sum, kind) => sum + cents(kind.total), 0);
      expect(byKind).toBe(report.columns.category ? expected : 0);
    }),
  );
});

test("it stops when it is told to", async () => {
  const stop = new AbortController();
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("date,amount\n");
    for (let lines = 0; ; lines += 1) {
      if (lines === 500) stop.abort(new Error("enough"));
      yield Buffer.from("2024-01-01,1\n");
    }
  }
  await expect(makeReport(endless(), { signal: stop.signal })).rejects.toThrow("enough");
});
