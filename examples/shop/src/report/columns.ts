import { parseAmount } from "./amount.ts";
import { CsvError } from "./csv.ts";
import { parseDate } from "./date.ts";

/** Where in a row the three things stand that a report is made of. */
export interface Columns {
  readonly date: Column;
  readonly amount: Column;
  /** What amounts are grouped by: a product, a region, a kind of weather. Not every file has one. */
  readonly category: Column | undefined;
}

export interface Column {
  readonly index: number;
  readonly name: string;
}

/** Names that say "amount" when several columns hold numbers. */
const AMOUNT = /^(amount|total|sales|revenue|price|value|sum|betrag|umsatz)/i;
const MOST_CATEGORIES = 40;

/**
 * Finds the columns by what stands in the first rows of data, not by their names: nobody has to rename theirs.
 * Of several columns that fit, the first is taken; for amounts, the first whose name says so.
 * @throws CsvError when no column holds dates, or none numbers.
 */
export function chooseColumns(header: readonly string[], sample: readonly (readonly string[])[]): Columns {
  const columns = header.map((name, index) => ({
    name: name || `column ${index + 1}`,
    index,
    cells: sample.map((row) => row[index] ?? "").filter((cell) => cell !== ""),
  }));
  const mostly = (column: { readonly cells: readonly string[] }, fits: (cell: string) => boolean) =>
    column.cells.length > 0 && column.cells.filter(fits).length * 2 > column.cells.length;

  const date = columns.find((column) => mostly(column, (cell) => parseDate(cell) !== undefined));
  if (!date)
    throw new CsvError(
      "No column holds dates such as 2012-01-31. The file needs a heading line, a column of dates and a column of amounts.",
    );

  const numbers = columns.filter((column) => column !== date && mostly(column, (cell) => parseAmount(cell) !== undefined));
  const amount = numbers.find((column) => AMOUNT.test(column.name)) ?? numbers[0];
  if (!amount)
    throw new CsvError(
      "No column holds amounts such as 1234.50. The file needs a heading line, a column of dates and a column of amounts.",
    );

  const category = columns.find((column) => {
    const kinds = new Set(column.cells).size;
    return (
      column !== date && !numbers.includes(column) && kinds > 0 && kinds <= MOST_CATEGORIES && kinds < Math.max(column.cells.length, 2)
    );
  });
  return { date, amount, category };
}
