import { expect, test } from "vitest";
import { parseDate } from "./date.ts";

test.each([
  ["2012-01-31", "2012-01-31"],
  ["2012/1/3", "2012-01-03"],
  ["2012-01-31T23:30:00+02:00", "2012-01-31"],
  ["31.12.2012", "2012-12-31"],
  ["Jan 1 2000", "2000-01-01"],
  ["February 29, 2024", "2024-02-29"],
  ["3-Sep-2021", "2021-09-03"],
])("%s is %s", (text, expected) => expect(parseDate(text)).toBe(expected));

test.each(["", "1/2/2012", "2012-02-30", "2012-13-01", "2012-01/02", "Foo 1 2000", "1899-12-31", "2200-01-01", "20120131", "12.8"])(
  "%j is no date",
  (text) => expect(parseDate(text)).toBeUndefined(),
);
