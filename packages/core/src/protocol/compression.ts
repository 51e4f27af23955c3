/** Compression of bodies, by kombu's names and content types (celery-protocol 1.7). */
import * as zlib from "node:zlib";
import { ProtocolError } from "./errors.ts";

interface Codec {
  readonly contentType: string;
  compress(data: Uint8Array): Uint8Array;
  decompress(data: Uint8Array, maxBytes: number): Uint8Array;
}

type ZlibSync = (data: Uint8Array, options?: { maxOutputLength: number }) => Buffer;
/** Node 22.15 and later only: looked for, never assumed. */
const { zstdCompressSync, zstdDecompressSync } = zlib as unknown as { zstdCompressSync?: ZlibSync; zstdDecompressSync?: ZlibSync };

/** kombu's gzip is a zlib stream as well. */
const deflate: Codec = {
  contentType: "application/x-gzip",
  compress: (data) => zlib.deflateSync(data),
  decompress: (data, maxOutputLength) => zlib.unzipSync(data, { maxOutputLength }),
};

/** The best compression, which is the default, takes a hundred times as long (740 ms for 830 kB) and gains next to nothing. */
const BROTLI = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } };

const CODECS = new Map<string, Codec>([
  ["gzip", deflate],
  ["zlib", deflate],
  [
    "brotli",
    {
      contentType: "application/x-brotli",
      compress: (data) => zlib.brotliCompressSync(data, BROTLI),
      decompress: (data, maxOutputLength) => zlib.brotliDecompressSync(data, { maxOutputLength }),
    },
  ],
]);
if (zstdCompressSync && zstdDecompressSync) {
  CODECS.set("zstd", {
    contentType: "application/zstd",
    compress: (data) => zstdCompressSync(data),
    decompress: (data, maxOutputLength) => zstdDecompressSync(data, { maxOutputLength }),
  });
}

const NO_BZIP2 = "bzip2 is not supported: use gzip, brotli or zstd";
const NO_LZMA = "lzma is not supported: use gzip, brotli or zstd";
const NO_ZSTD = "zstd needs Node 22.15 or newer";
const UNSUPPORTED: ReadonlyMap<string, string> = new Map([
  ["bzip2", NO_BZIP2],
  ["application/x-bz2", NO_BZIP2],
  ["lzma", NO_LZMA],
  ["xz", NO_LZMA],
  ["application/x-lzma", NO_LZMA],
  ["zstd", NO_ZSTD],
  ["application/zstd", NO_ZSTD],
]);

function codecFor(nameOrType: string, where: string): Codec {
  const name = nameOrType.toLowerCase();
  const codec = CODECS.get(name) ?? [...CODECS.values()].find(({ contentType }) => contentType === name);
  if (!codec)
    throw new ProtocolError(
      "unsupported",
      where,
      UNSUPPORTED.get(name) ??
        `the compression ${JSON.stringify(nameOrType.slice(0, 50))} is not known; known are ${[...CODECS.keys()].join(", ")}`,
    );
  return codec;
}

/** @throws ProtocolError for a compression that is not known here. */
export function compress(data: Uint8Array, name: string): { readonly data: Uint8Array; readonly contentType: string } {
  const codec = codecFor(name, "compression");
  return { data: codec.compress(data), contentType: codec.contentType };
}

/** @throws ProtocolError also when what comes out is larger than `maxBytes`. */
export function decompress(data: Uint8Array, contentType: unknown, maxBytes: number): Uint8Array {
  if (typeof contentType !== "string") throw new ProtocolError("malformed", "headers.compression", "not text");
  const codec = codecFor(contentType, "headers.compression");
  try {
    return codec.decompress(data, maxBytes);
  } catch (error) {
    const isTooLarge = (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
    throw new ProtocolError(
      isTooLarge ? "tooLarge" : "malformed",
      "body",
      isTooLarge ? `more than ${maxBytes} bytes when decompressed` : `not ${contentType}`,
      { cause: error },
    );
  }
}
