import { type Amount, formatAmount } from "./amount.ts";

/** What a report says. Plain JSON: it is the task's result. Amounts are decimal text, exact. */
export interface Summary {
  readonly rows: number;
  readonly total: string;
  readonly smallest: Extreme;
  readonly largest: Extreme;
  /** Those that have rows, earliest first; `name` is `2012-01`. */
  readonly months: readonly Group[];
  /** Largest total first. Beyond a hundred, the rest is called "(other)". */
  readonly categories: readonly Group[];
}

export interface Extreme {
  readonly amount: string;
  readonly date: string;
  readonly line: number;
}

export interface Group {
  readonly name: string;
  readonly rows: number;
  readonly total: string;
}

export interface Entry {
  readonly line: number;
  readonly date: string;
  readonly amount: Amount;
  readonly category: string | undefined;
}

const MOST_CATEGORIES = 100;

/** Adds up entries as they come. Holds groups, never rows. */
export class Tally {
  #rows = 0;
  #total = 0n;
  #decimals = 0;
  #smallest: Entry | undefined;
  #largest: Entry | undefined;
  readonly #months = new Map<string, Sum>();
  readonly #categories = new Map<string, Sum>();

  add(entry: Entry): void {
    const { billionths, decimals } = entry.amount;
    this.#rows += 1;
    this.#total += billionths;
    this.#decimals = Math.max(this.#decimals, decimals);
    if (!this.#smallest || billionths < this.#smallest.amount.billionths) this.#smallest = entry;
    if (!this.#largest || billionths > this.#largest.amount.billionths) this.#largest = entry;
    addTo(this.#months, entry.date.slice(0, 7), billionths);
    if (entry.category === undefined) return;
    const known = this.#categories.has(entry.category) || this.#categories.size < MOST_CATEGORIES;
    addTo(this.#categories, known ? entry.category : "(other)", billionths);
  }

  /** Undefined when nothing was added. */
  summary(): Summary | undefined {
    if (!this.#smallest || !this.#largest) return undefined;
    const months = [...this.#months].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const categories = [...this.#categories].toSorted(([, a], [, b]) => (a.total > b.total ? -1 : 1));
    return {
      rows: this.#rows,
      total: this.#text(this.#total),
      smallest: this.#extreme(this.#smallest),
      largest: this.#extreme(this.#largest),
      months: months.map((month) => this.#group(month)),
      categories: categories.map((category) => this.#group(category)),
    };
  }

  #text(billionths: bigint): string {
    return formatAmount(billionths, this.#decimals);
  }

  #extreme({ amount, date, line }: Entry): Extreme {
    return { amount: this.#text(amount.billionths), date, line };
  }

  #group([name, { rows, total }]: [string, Sum]): Group {
    return { name, rows, total: this.#text(total) };
  }
}

interface Sum {
  rows: number;
  total: bigint;
}

function addTo(sums: Map<string, Sum>, name: string, billionths: bigint): void {
  const sum = sums.get(name);
  if (!sum) return void sums.set(name, { rows: 1, total: billionths });
  sum.rows += 1;
  sum.total += billionths;
}
