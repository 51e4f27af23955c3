/**
 * What the shop knows: orders, uploads and reports, each a file under its id. It stands where a database would.
 * A file is written whole and then renamed, so that a reader, in whatever process, sees the old one or the new one.
 */
import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Report } from "./report/report.ts";
import { settings } from "./settings.ts";

export interface Order {
  readonly id: string;
  readonly customer: string;
  readonly product: string;
  readonly quantity: number;
  readonly cents: number;
  /** ISO 8601, as all times here. */
  readonly placedAt: string;
  readonly payment: Payment;
}

export type Payment =
  | { readonly status: "due" }
  | { readonly status: "paid"; readonly receipt: string; readonly paidAt: string; readonly attempts: number }
  | { readonly status: "failed"; readonly reason: string };

export interface Upload {
  readonly id: string;
  /** The file's name, as the uploader called it. */
  readonly name: string;
  readonly bytes: number;
  readonly uploadedAt: string;
  readonly report: { readonly status: "due" } | { readonly status: "made" } | { readonly status: "refused"; readonly reason: string };
}

export const orders = {
  save: (order: Order) => write("orders", order.id, ".json", JSON.stringify(order)),
  read: (id: string) => readJson<Order>("orders", id),
  remove: (id: string) => rm(path("orders", id, ".json"), { force: true }),
  /** Newest first. */
  latest: async (limit: number) => newest(await readAll<Order>("orders"), (order) => order.placedAt, limit),
};

export const uploads = {
  async save(upload: Upload, content: Uint8Array): Promise<void> {
    await write("uploads", upload.id, ".csv", content);
    await write("uploads", upload.id, ".json", JSON.stringify(upload));
  },
  read: (id: string) => readJson<Upload>("uploads", id),
  /** Says what became of it. */
  async mark(id: string, report: Upload["report"]): Promise<void> {
    const upload = await readJson<Upload>("uploads", id);
    if (upload) await write("uploads", id, ".json", JSON.stringify({ ...upload, report }));
  },
  async remove(id: string): Promise<void> {
    await rm(path("uploads", id, ".json"), { force: true });
    await rm(path("uploads", id, ".csv"), { force: true });
  },
  /** The content as it is read from disk, and its length. */
  async open(id: string): Promise<{ readonly content: AsyncIterable<Uint8Array>; readonly bytes: number }> {
    const file = path("uploads", id, ".csv");
    return { bytes: (await stat(file)).size, content: createReadStream(file) };
  },
  /** Newest first. */
  latest: async (limit: number) => newest(await readAll<Upload>("uploads"), (upload) => upload.uploadedAt, limit),
};

/** A report has the id of the upload that it was made from. */
export const reports = {
  async save(id: string, report: Report, chart: string): Promise<void> {
    await write("reports", id, ".svg", chart);
    await write("reports", id, ".json", JSON.stringify(report));
    await uploads.mark(id, { status: "made" });
  },
  read: (id: string) => readJson<Report>("reports", id),
  readChart: (id: string) => read("reports", id, ".svg"),
};

type Kind = "orders" | "uploads" | "reports";

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Ids come from outside: what is no UUID names no file. */
function path(kind: Kind, id: string, extension: string): string {
  if (!ID.test(id)) throw new TypeError("an id is a UUID");
  return join(settings.dataFolder, kind, id + extension);
}

async function write(kind: Kind, id: string, extension: string, content: string | Uint8Array): Promise<void> {
  const target = path(kind, id, extension);
  const unfinished = `${target}.${randomUUID()}`;
  await mkdir(dirname(target), { recursive: true });
  await writeFile(unfinished, content);
  await rename(unfinished, target);
}

/** Undefined when there is none. */
async function read(kind: Kind, id: string, extension: string): Promise<string | undefined> {
  try {
    return await readFile(path(kind, id, extension), "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

async function readJson<T>(kind: Kind, id: string): Promise<T | undefined> {
  const text = await read(kind, id, ".json");
  return text === undefined ? undefined : (JSON.parse(text) as T); // written by `save`, of this type
}

async function readAll<T>(kind: Kind): Promise<readonly T[]> {
  const folder = join(settings.dataFolder, kind);
  await mkdir(folder, { recursive: true });
  const ids = (await readdir(folder)).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -".json".length));
  const all = await Promise.all(ids.map((id) => readJson<T>(kind, id)));
  return all.filter((one) => one !== undefined);
}

function newest<T>(all: readonly T[], time: (one: T) => string, limit: number): readonly T[] {
  return all.toSorted((a, b) => (time(a) < time(b) ? 1 : -1)).slice(0, limit);
}
