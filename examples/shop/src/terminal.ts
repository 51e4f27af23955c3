/** What `npm start` prints. */
import type { Report } from "./report/report.ts";
import type { Order } from "./store.ts";

const NAME_WIDTH = 24;
const VALUE_WIDTH = 14;

export function printReport(file: string, { columns, rows, total, smallest, largest, months, categories, badRows }: Report): void {
  const best = months.toSorted((a, b) => Number(b.total) - Number(a.total))[0];
  const lines = [
    `${file}: ${columns.amount} in ${rows} rows, ${months[0]?.name} to ${months.at(-1)?.name}`,
    line("total", total),
    line("smallest", smallest.amount, `on ${smallest.date}`),
    line("largest", largest.amount, `on ${largest.date}`),
    line("month with the most", best?.total ?? "", best?.name),
    ...categories.map((category) => line(`${columns.category} ${category.name}`, category.total, `in ${category.rows} rows`)),
    line("rows left out", String(badRows.count)),
    "",
  ];
  console.log(lines.join("\n"));
}

export function printOrder({ customer, quantity, product, cents, payment }: Order): void {
  console.log(`Order of ${customer}: ${quantity} × ${product}, ${(cents / 100).toFixed(2)}: ${outcome(payment)}`);
}

function outcome(payment: Order["payment"]): string {
  switch (payment.status) {
    case "paid":
      return `paid at attempt ${payment.attempts}, receipt ${payment.receipt}`;
    case "failed":
      return `not paid: ${payment.reason}`;
    case "due":
      return "not paid yet";
  }
}

function line(name: string, value: string, detail = ""): string {
  return `  ${name.padEnd(NAME_WIDTH)}${value.padStart(VALUE_WIDTH)}  ${detail}`.trimEnd();
}
