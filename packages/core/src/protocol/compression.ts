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

const CODECS = new Map<string, Codec>([
  ["gzip", deflate],
  ["zlib", deflate],
  [
    "brotli",
    {
      contentType: "application/x-brotli",
      compress: (data) => zlib.brotliCompressSync(data),
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

const UNSUPPORTED: Readonly<Record<string, string>> = {
  "application/x-bz2": "bzip2 is not supported: use gzip, brotli or zstd",
  bzip2: "bzip2 is not supported: use gzip, brotli or zstd",
  "application/x-lzma": "lzma is not supported: use gzip, brotli or zstd",
  lzma: "lzma is not supported: use gzip, brotli or zstd",
  xz: "lzma is not supported: use gzip, brotli or zstd",
  "application/zstd": "zstd needs Node 22.15 or newer",
  zstd: "zstd needs Node 22.15 or newer",
};

function codecFor(nameOrType: string, where: string): Codec {
  const name = nameOrType.toLowerCase();
  const codec = CODECS.get(name) ?? [...CODECS.values()].find(({ contentType }) => contentType === name);
  if (!codec)
    throw new ProtocolError(
      "unsupported",
      where,
      UNSUPPORTED[name] ??
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
