import pc from "picocolors";
import { expect, test } from "vitest";
import { tableLines } from "./table.ts";

const PLAIN = pc.createColors(false);

test("columns are as wide as what is in them, also with wide characters", () => {
  const columns = [
    { title: "queue", cell: (row: { name: string; ready: number }) => row.name },
    { title: "ready", align: "right" as const, cell: (row: { name: string; ready: number }) => String(row.ready) },
  ];
  expect(tableLines([{ name: "mail", ready: 5 }, { name: "レポート", ready: 12345678 }], columns, PLAIN)).toEqual(["queue        ready", "mail             5", "レポート  12345678"]); // prettier-ignore
});
