/**
 * Encrypts single values among a task's arguments with AES-256-GCM, so that brokers, results and monitors never see them. In a message an
 * encrypted value is a plain object that any language can pass on:
 *
 *   {"lovage_sealed": 1, "key": "2026-11", "nonce": "<base64, 12 bytes>", "data": "<base64, ciphertext and the tag of 16 bytes>"}
 *
 * The plaintext is the value as JSON, dates and the like as in any message. The task's name is authenticated with it: a value that was
 * encrypted for one task is refused by another.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { decodeJson, encodeJson } from "../protocol/json.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import { LovageError } from "../shared/errors.ts";
import { ConfigurationError } from "./errors.ts";

/** A value cannot be decrypted: its key is not among ours, or it is not what was encrypted for this task. */
export class DecryptionError extends LovageError {
  readonly code = "DECRYPTION";
  readonly task: string;

  constructor(task: string, problem: string, options?: ErrorOptions) {
    super(`an encrypted argument of ${task} cannot be read: ${problem}`, options);
    this.task = task;
  }
}

export interface SealedValue {
  readonly lovage_sealed: 1;
  readonly key: string;
  readonly nonce: string;
  readonly data: string;
}

const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Names of keys, and the keys in base64. */
export type KeyRing = Readonly<Record<string, string>>;

export class FieldCipher {
  readonly #keys: ReadonlyMap<string, Buffer>;
  readonly #current: string | undefined;

  /** @param current which one encrypts; null where there is only one. @throws ConfigurationError */
  constructor(ring: KeyRing, current: string | null) {
    this.#keys = new Map(Object.entries(ring).map(([id, text]) => [id, keyOf(id, text)]));
    if (current !== null && !this.#keys.has(current))
      throw new ConfigurationError(`encryptionKeyId is "${current}", and encryptionKeys has no key of that name`);
    if (current === null && this.#keys.size > 1)
      throw new ConfigurationError("encryptionKeys holds several keys: encryptionKeyId must say which one encrypts");
    this.#current = current ?? [...this.#keys.keys()][0];
  }

  /** @throws ConfigurationError without a key; ProtocolError with the path to what is no JSON */
  seal(value: unknown, task: string, where: string): SealedValue {
    const id = this.#current;
    const key = id === undefined ? undefined : this.#keys.get(id);
    if (id === undefined || key === undefined)
      throw new ConfigurationError(`${where} of ${task} is to be encrypted, and there is no key: set encryptionKeys`);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(task));
    const text = encodeJson(value, { instances: "refuse", where });
    const data = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
    return { lovage_sealed: 1, key: id, nonce: nonce.toString("base64"), data: data.toString("base64") };
  }

  /** @throws DecryptionError */
  open(sealed: SealedValue, task: string): unknown {
    const key = this.#keys.get(sealed.key);
    if (key === undefined) throw new DecryptionError(task, `there is no key "${sealed.key}" in encryptionKeys`);
    const data = Buffer.from(sealed.data, "base64");
    const nonce = Buffer.from(sealed.nonce, "base64");
    if (data.length < TAG_BYTES || nonce.length !== NONCE_BYTES) throw new DecryptionError(task, "it is not complete");
    let text: string;
    try {
      const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(task));
      decipher.setAuthTag(data.subarray(-TAG_BYTES));
      text = Buffer.concat([decipher.update(data.subarray(0, -TAG_BYTES)), decipher.final()]).toString("utf8");
    } catch (error) {
      throw new DecryptionError(task, "it was changed, or encrypted for another task or with another key", { cause: error });
    }
    return decodeJson(text, DEFAULT_LIMITS, "an encrypted argument");
  }
}

export function isSealed(value: unknown): value is SealedValue {
  if (typeof value !== "object" || value === null) return false;
  const { lovage_sealed: version, key, nonce, data } = value as Partial<Record<keyof SealedValue, unknown>>;
  return version === 1 && typeof key === "string" && typeof nonce === "string" && typeof data === "string";
}

function keyOf(id: string, text: string): Buffer {
  const key = Buffer.from(text, "base64");
  if (key.length !== KEY_BYTES)
    throw new ConfigurationError(
      `the key "${id}" of encryptionKeys is not ${KEY_BYTES} bytes in base64: \`openssl rand -base64 32\` makes one`,
    );
  return key;
}
