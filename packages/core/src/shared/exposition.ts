/**
 * Writes the text format that Prometheus reads (exposition format 0.0.4). Small enough to be our own: a metrics library
 * keeps its numbers in objects of one thread, and ours are in memory that two threads share.
 */
export type Labels = Readonly<Record<string, string>>;

export type Sample = readonly [Labels, number];

/** A metric without samples is left out. */
export class Exposition {
  readonly #lines: string[] = [];

  counter(name: string, help: string, samples: readonly Sample[]): void {
    this.#simple(name, "counter", help, samples);
  }

  gauge(name: string, help: string, samples: readonly Sample[]): void {
    this.#simple(name, "gauge", help, samples);
  }

  /** `counts`: one for each bound and one beyond the last, not cumulative. */
  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    samples: readonly (readonly [Labels, { readonly counts: readonly number[]; readonly sum: number }])[],
  ): void {
    if (samples.length > 0) this.#head(name, "histogram", help);
    for (const [labels, { counts, sum }] of samples) {
      let total = 0;
      counts.forEach((count, i) => {
        total += count;
        this.#line(`${name}_bucket`, { ...labels, le: i < bounds.length ? String(bounds[i]) : "+Inf" }, total);
      });
      this.#line(`${name}_sum`, labels, sum);
      this.#line(`${name}_count`, labels, total);
    }
  }

  toString(): string {
    return `${this.#lines.join("\n")}\n`;
  }

  #simple(name: string, type: string, help: string, samples: readonly Sample[]): void {
    if (samples.length > 0) this.#head(name, type, help);
    for (const [labels, value] of samples) this.#line(name, labels, value);
  }

  #head(name: string, type: string, help: string): void {
    this.#lines.push(`# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`, `# TYPE ${name} ${type}`);
  }

  #line(name: string, labels: Labels, value: number): void {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
    this.#lines.push(`${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${written(value)}`);
  }
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function written(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}
