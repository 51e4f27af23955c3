const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/** Each with named groups y, m, d. A time of day may follow the first two. */
const FORMATS = [
  /^(?<y>\d{4})([-/.])(?<m>\d{1,2})\2(?<d>\d{1,2})(?:[T ]\d{1,2}:\d{2}.*)?$/, // 2012-01-31, 2012/1/31
  /^(?<d>\d{1,2})\.(?<m>\d{1,2})\.(?<y>\d{4})(?: \d{1,2}:\d{2}.*)?$/, // 31.1.2012
  /^(?<m>[a-z]{3,9})\.? (?<d>\d{1,2}),? (?<y>\d{4})$/i, // Jan 31, 2012
  /^(?<d>\d{1,2})[ -](?<m>[a-z]{3,9})[ -](?<y>\d{4})$/i, // 31 January 2012
];

/**
 * A day as `2012-01-31`, or undefined. `1/2/2012` is not read: it is a day in January here and in February there.
 * Years from 1900 to 2199, so that a file cannot hold more months than a report can list.
 */
export function parseDate(text: string): string | undefined {
  const trimmed = text.trim();
  for (const format of FORMATS) {
    const { y, m, d } = format.exec(trimmed)?.groups ?? {};
    if (y && m && d) return calendarDay(Number(y), monthNumber(m), Number(d));
  }
  return undefined;
}

function monthNumber(text: string): number {
  return /^\d/.test(text) ? Number(text) : MONTHS.indexOf(text.slice(0, 3).toLowerCase()) + 1;
}

function calendarDay(year: number, month: number, day: number): string | undefined {
  const date = new Date(Date.UTC(year, month - 1, day));
  const exists = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  return exists && year >= 1900 && year < 2200 ? date.toISOString().slice(0, 10) : undefined;
}
