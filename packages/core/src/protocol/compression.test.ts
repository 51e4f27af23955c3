import { brotliCompressSync, gzipSync } from "node:zlib";
import * as zlib from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compress, decompress } from "./compression.ts";
import { ProtocolError } from "./errors.ts";

const hasZstd = "zstdCompressSync" in zlib;
const TYPES: readonly (readonly [name: string, contentType: string])[] = [
  ["gzip", "application/x-gzip"],
  ["zlib", "application/x-gzip"],
  ["brotli", "application/x-brotli"],
  ...(hasZstd ? [["zstd", "application/zstd"] as const] : []),
];

describe.each(TYPES)("%s", (name, contentType) => {
  test("gives back any bytes, by its content type and by its name", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        const compressed = compress(bytes, name);
        expect(compressed.contentType).toBe(contentType);
        for (const known of [contentType, name]) expect(Buffer.from(decompress(compressed.data, known, 2000))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  test("stops at the limit, and refuses what is cut short or is something else", () => {
    const { data } = compress(Buffer.alloc(10_000_000), name);
    expect(() => decompress(data, contentType, 1_000_000)).toThrow(expect.objectContaining({ problem: "tooLarge" }));
    for (const odd of [data.subarray(0, data.length - 5), Buffer.from("no"), Buffer.alloc(0)])
      expect(() => decompress(odd, contentType, 20_000_000)).toThrow(expect.objectContaining({ problem: "malformed" }));
  });
});

test("kombu's gzip is a zlib stream; gzip proper is read as well", () => {
  expect(Buffer.from(compress(Buffer.from("a"), "gzip").data).subarray(0, 2)).toEqual(Buffer.of(0x78, 0x9c));
  expect(Buffer.from(decompress(gzipSync("abc"), "application/x-gzip", 10)).toString()).toBe("abc");
  expect(Buffer.from(decompress(brotliCompressSync("abc"), "application/x-brotli", 10)).toString()).toBe("abc");
});

test.each([["bzip2"], ["application/x-bz2"], ["lzma"], ["xz"], ["application/x-lzma"], ["snappy"], ["__proto__"], ["constructor"], [""]])(
  "%j is refused by name",
  (name) => expect(() => decompress(Buffer.alloc(1), name, 10)).toThrow(expect.objectContaining({ problem: "unsupported" })),
);

test.each([[1], [null], [{}]])("%j is no compression", (name) =>
  expect(() => decompress(Buffer.alloc(1), name, 10)).toThrow(ProtocolError),
);
