/** From a CSV file of dated amounts to a report. Knows nothing of tasks: `tasks.ts` calls it. */
import { parseAmount } from "./amount.ts";
import { chooseColumns, type Columns } from "./columns.ts";
import { CsvError, type CsvRow, readCsv } from "./csv.ts";
import { parseDate } from "./date.ts";
import { type Entry, type Summary, Tally } from "./summary.ts";

export interface Report extends Summary {
  /** The headings of the columns that were used. */
  readonly columns: { readonly date: string; readonly amount: string; readonly category: string | null };
  /** Rows that could not be used: how many, and why the first of them could not. */
  readonly badRows: { readonly count: number; readonly first: readonly BadRow[] };
}

export interface BadRow {
  readonly line: number;
  readonly problem: string;
}

/** Columns are chosen by the first rows. */
const SAMPLE_ROWS = 200;
const BAD_ROWS_SHOWN = 20;
/** What a cell may bring into the report. */
const LONGEST_NAME = 80;

/** @throws CsvError when the file is no table of dated amounts; its message says what is missing. */
export async function makeReport(file: AsyncIterable<Uint8Array>, options: { readonly signal?: AbortSignal } = {}): Promise<Report> {
  const rows = readCsv(file);
  const header = await rows.next();
  if (header.done) throw new CsvError("The file is empty.");

  const sample: CsvRow[] = [];
  while (sample.length < SAMPLE_ROWS) {
    const row = await rows.next();
    if (row.done) break;
    sample.push(row.value);
  }
  const columns = chooseColumns(
    header.value.cells,
    sample.map((row) => row.cells),
  );

  const tally = new Tally();
  const bad: BadRow[] = [];
  let badCount = 0;
  const take = (row: CsvRow) => {
    const entry = readEntry(row, columns);
    if ("amount" in entry) return tally.add(entry);
    badCount += 1;
    if (bad.length < BAD_ROWS_SHOWN) bad.push(entry);
  };
  for (const row of sample) take(row);
  for await (const row of rows) {
    options.signal?.throwIfAborted();
    take(row);
  }

  const summary = tally.summary();
  if (!summary) throw new CsvError("No row of the file has both a date and an amount.");
  const { date, amount, category } = columns;
  return {
    ...summary,
    columns: { date: brief(date.name), amount: brief(amount.name), category: category ? brief(category.name) : null },
    badRows: { count: badCount, first: bad },
  };
}

function readEntry({ line, cells }: CsvRow, columns: Columns): Entry | BadRow {
  const dateText = cells[columns.date.index] ?? "";
  const date = parseDate(dateText);
  if (!date) return { line, problem: dateText === "" ? "no date" : `not a date: ${brief(dateText)}` };
  const amountText = cells[columns.amount.index] ?? "";
  const amount = parseAmount(amountText);
  if (!amount) return { line, problem: amountText === "" ? "no amount" : `not an amount: ${brief(amountText)}` };
  const category = columns.category && brief(cells[columns.category.index] || "(none)");
  return { line, date, amount, category };
}

function brief(text: string): string {
  return text.length > LONGEST_NAME ? `${[...text].slice(0, LONGEST_NAME - 1).join("")}…` : text;
}
