/** What has been read of a workflow so far: documents, messages, and whether all messages were looked at. */
import { decodePart, type ChordPart } from "../../canvas/chord-part.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ResultDocument } from "../../protocol/result.ts";
import { contentTypesFor } from "../../protocol/serializers.ts";
import { isReady } from "../../protocol/states.ts";
import type { Lovage } from "../app.ts";
import { errorLine } from "./facts.ts";
import { findMessages, type Found, type KnownMessage, type Wanted } from "./find-messages.ts";
import type { NodeRole, WorkflowNode } from "./node.ts";

/** A node while it is put together. */
export type Draft = { -readonly [Key in keyof WorkflowNode]: WorkflowNode[Key] } & { parts: Draft[] };

const MESSAGES = 100_000;

export class Findings {
  readonly #app: Lovage;
  readonly #queues: readonly string[] | undefined;
  readonly #limit: number;
  readonly #documents = new Map<string, ResultDocument | undefined>();
  readonly #messages = new Map<string, KnownMessage>();
  #isPartial = false;

  constructor(app: Lovage, options: { readonly queues?: readonly string[] | undefined; readonly messages?: number | undefined }) {
    this.#app = app;
    this.#queues = options.queues;
    this.#limit = options.messages ?? MESSAGES;
  }

  /** Not all messages of the broker were looked at. */
  get isPartial(): boolean {
    return this.#isPartial;
  }

  document(id: string): ResultDocument | undefined {
    return this.#documents.get(id);
  }

  message(id: string): KnownMessage | undefined {
    return this.#messages.get(id);
  }

  /** Looks through the messages. */
  async search(wanted: Wanted): Promise<Found> {
    const broker = await this.#app.broker();
    if (wanted.ids.size === 0 && wanted.groups.size === 0 && wanted.follower === undefined) return { messages: [], isPartial: false };
    const queues = this.#queues ?? this.#app.calls.routing.declared.map(({ name }) => name);
    const found = await findMessages(broker, queues, wanted, this.#limit);
    for (const message of found.messages) this.#messages.set(message.received.id, message);
    if (found.isPartial) this.#isPartial = true;
    return found;
  }

  /** Reads the documents that were not read before. */
  async read(ids: readonly string[]): Promise<void> {
    const fresh = [...new Set(ids)].filter((id) => !this.#documents.has(id));
    const documents = await Promise.all(fresh.map((id) => this.#app.results.read(id)));
    for (const [i, id] of fresh.entries()) this.#documents.set(id, documents[i]);
  }

  /** Without what follows from it. */
  task(id: string, role: NodeRole, place?: number): Draft {
    const document = this.#documents.get(id);
    const state = document?.state ?? "PENDING";
    const node: Draft = { kind: "task", id, role, ...(place !== undefined && { place }), state, parts: [] };
    if (document?.extended !== undefined) node.task = document.extended.name;
    if (document?.dateDoneAt) node.doneAt = new Date(document.dateDoneAt);
    if (document?.error !== undefined) node.error = errorLine(document.error);
    if (document?.deadLetter !== undefined) {
      const { queue, reason } = document.deadLetter;
      node.where = { kind: "dead", queue, reason, error: node.error ?? "" };
    } else if (!isReady(state)) node.where = { kind: "unknown" };
    return node;
  }

  /** undefined for what is no part. */
  part(text: string | Uint8Array): ChordPart | undefined {
    const { settings } = this.#app;
    try {
      return decodePart(text, {
        accept: contentTypesFor(settings.resultAcceptContent ?? settings.acceptContent),
        serializer: settings.resultSerializer,
      });
    } catch (error) {
      if (error instanceof ProtocolError) return undefined;
      throw error;
    }
  }
}
