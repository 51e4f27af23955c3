/** Columns of text, as wide as what is in them. */
import type { Colors } from "./output.ts";

export interface Column<Row> {
  readonly title: string;
  readonly align?: "right";
  cell(row: Row): string;
  /** Colours a cell once it is padded; lengths are counted before. */
  paint?(cell: string, row: Row, colors: Colors): string;
}

/** A line of titles and one for each row. */
export function tableLines<Row>(rows: readonly Row[], columns: readonly Column<Row>[], colors: Colors): readonly string[] {
  const cells = rows.map((row) => columns.map((column) => column.cell(row)));
  const widths = columns.map((column, index) =>
    Math.max(displayWidth(column.title), ...cells.map((line) => displayWidth(line[index] as string))),
  );
  const line = (texts: readonly string[], paint: (text: string, index: number) => string): string =>
    texts
      .map((text, index) => paint(pad(text, widths[index] as number, columns[index]?.align), index))
      .join("  ")
      .trimEnd();
  const titles = line(columns.map((column) => column.title), (text) => colors.bold(text)); // prettier-ignore
  return [
    titles,
    ...cells.map((texts, at) => line(texts, (text, index) => columns[index]?.paint?.(text, rows[at] as Row, colors) ?? text)),
  ];
}

function pad(text: string, width: number, align: "right" | undefined): string {
  const space = " ".repeat(Math.max(0, width - displayWidth(text)));
  return align === "right" ? space + text : text + space;
}

/** Characters, not UTF-16 units; wide East Asian ones count two. */
function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += isWide(character.codePointAt(0) as number) ? 2 : 1;
  return width;
}

function isWide(code: number): boolean {
  return code >= 0x1100 && (code <= 0x115f || (code >= 0x2e80 && code <= 0xa4cf) || (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) || code >= 0x1f300); // prettier-ignore
}
