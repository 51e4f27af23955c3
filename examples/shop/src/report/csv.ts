/** Reads a CSV file row by row, with line numbers, in bounded memory, whatever the file holds. */
import { Readable, pipeline } from "node:stream";
import { CsvError as ParserError, parse } from "csv-parse";

export interface CsvRow {
  /** The line of the file on which the row ends; the first line is 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

/** The file as a whole cannot be read. The message is for the person who uploaded it. */
export class CsvError extends Error {
  override readonly name = "CsvError";
}

const LONGEST_ROW = 64 * 1024;

/**
 * The rows of a file, blank lines left out. A quote out of place is taken as part of its cell.
 * @throws CsvError when the file is not UTF-8 text, or a quote is opened and never closed: what follows it cannot be told apart.
 */
export async function* readCsv(file: AsyncIterable<Uint8Array>): AsyncGenerator<CsvRow> {
  const chunks = decode(file);
  let start = "";
  while (!start.includes("\n")) {
    const chunk = await chunks.next();
    if (chunk.done) break;
    start += chunk.value;
    if (start.length > LONGEST_ROW) break;
  }
  async function* text() {
    yield start;
    yield* chunks;
  }
  let lastLine = 0;
  const parser = parse({
    delimiter: delimiterOf(start),
    max_record_size: LONGEST_ROW,
    record_delimiter: "\n",
    relax_column_count: true, // short rows are judged where it is known which cells matter
    relax_quotes: true,
    skip_empty_lines: true,
    trim: true,
    info: true,
    on_record: (cells: string[], { lines }) => ((lastLine = lines), cells),
  });
  pipeline(Readable.from(text()), parser, () => {}); // an error ends the loop below
  try {
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      yield { line: info.lines, cells: record };
    }
  } catch (error) {
    if (!(error instanceof ParserError)) throw error;
    throw new CsvError(`After line ${lastLine} a quote is opened and never closed, or a row is longer than 64 KiB.`, { cause: error });
  }
}

/** UTF-8, with `\n` at the end of lines however the file ends them: the parser counts a `\r\n` inside quotes twice. */
async function* decode(file: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let afterReturn = false;
  const lines = (text: string) => {
    if (text.includes("\0")) throw new CsvError("This is not a text file. Save the table as CSV (UTF-8) and upload that.");
    const rest = afterReturn && text.startsWith("\n") ? text.slice(1) : text;
    if (text !== "") afterReturn = text.endsWith("\r");
    return rest.replaceAll(/\r\n?/g, "\n");
  };
  try {
    for await (const bytes of file) yield lines(decoder.decode(bytes, { stream: true }));
    yield lines(decoder.decode());
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new CsvError("The file is not UTF-8 text. Save the table as CSV (UTF-8) and upload that.", { cause: error });
  }
}

/** The one of comma, semicolon and tab that the first line has most of. */
function delimiterOf(start: string): string {
  const header = start.slice(0, start.search(/\n|$/));
  const count = (delimiter: string) => header.split(delimiter).length;
  return [",", ";", "\t"].reduce((best, next) => (count(next) > count(best) ? next : best));
}
