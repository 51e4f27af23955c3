/** Against what real Celery sent for the same canvases (fixtures/celery, 5.6.3), ids apart. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { SignatureData } from "../protocol/signature.ts";
import {
  chainSignature,
  chordSignature,
  chunksSignature,
  groupSignature,
  mapSignature,
  taskSignature,
  withLinks,
} from "./signature-data.ts";
import { stamped } from "./stamp.ts";
import { type PlannedCall, unroll } from "./unroll.ts";

const folder = new URL("../../test/golden/fixtures/celery/5.6.3/messages/", import.meta.url);
const add = (...args: unknown[]): SignatureData => taskSignature("cap.add", args);
const xsum = taskSignature("cap.xsum");
const onError = taskSignature("cap.on_error");

const SHAPES: Readonly<Record<string, SignatureData>> = {
  chain3: chainSignature([add(1, 1), add(2), add(3)]),
  chain3_link_error: chainSignature([add(1, 1), add(2)], { link_error: [onError] }),
  chain_to_chord: chainSignature([add(1, 1), groupSignature([add(2), add(3)]), xsum]),
  chord: chordSignature(groupSignature([add(1, 1), add(2, 2)]), xsum),
  chord_link_error: chordSignature(groupSignature([add(1, 1), taskSignature("cap.fail")]), withLinks(xsum, "link_error", [onError])),
  chord_of_chains: chordSignature(groupSignature([chainSignature([add(1, 1), add(1)]), groupSignature([add(3, 3), add(2, 2)])]), xsum),
  chain_as_task: groupSignature([chainSignature([add(1, 1), add(2)])]),
  group3: groupSignature([add(0, 0), add(1, 1), add(2, 2)]),
  chunks: chunksSignature(taskSignature("cap.add"), [[0, 0], [1, 1], [2, 2]], 2), // prettier-ignore
  map: mapSignature("map", taskSignature("cap.xsum"), [[1, 2], [3, 4]]), // prettier-ignore
  starmap: mapSignature("starmap", taskSignature("cap.add"), [[1, 2], [3, 4]]), // prettier-ignore
  stamped_chain: stamped(chainSignature([add(1, 1), add(2)]), { monitoring_id: "m-2" }),
};

interface Sent {
  readonly task: string;
  readonly args: unknown;
  readonly kwargs: unknown;
  readonly embed: Readonly<Record<string, unknown>>;
  readonly group: unknown;
  readonly group_index: unknown;
}

function recorded(name: string): Sent[] {
  const { messages } = JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
  return (messages as { envelope: { headers: Sent }; body: [unknown, unknown, Sent["embed"]] }[]).map(({ envelope: { headers }, body }) => {
    const { task, group, group_index } = headers;
    const [args, kwargs, embed] = body;
    return { task, args, kwargs, embed, group, group_index };
  });
}

function sent({ task, args, kwargs, options }: PlannedCall): Sent {
  const { link = null, link_error: errbacks = null, chain = null, chord = null, group_id: group = null, group_index = null } = options;
  return { task, args, kwargs, embed: { callbacks: link, errbacks, chain, chord }, group, group_index };
}

/** Ids become numbers by their first appearance. What the members of a header that has not begun carry of their body is left out. */
function numbered(messages: readonly Sent[]): unknown {
  const ids = new Map<string, string>();
  const idOf = (id: string): string => ids.get(id) ?? ids.set(id, `#${ids.size}`).get(id) ?? "";
  const walk = (value: unknown, key: string, inHeader: boolean): unknown => {
    if (["task_id", "group_id", "group"].includes(key) && typeof value === "string") return idOf(value);
    if (key === "reply_to") return "client";
    if (Array.isArray(value)) return value.map((each) => walk(each, "", inHeader));
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
    const within = inHeader || key === "header";
    const dropped = (name: string, each: unknown): boolean => each === null || (within && ["chord", "group_index"].includes(name));
    return Object.fromEntries(
      entries.filter(([name, each]) => !dropped(name, each)).map(([name, each]) => [name, walk(each, name, within)]),
    );
  };
  return walk(messages, "", false);
}

describe.each(Object.entries(SHAPES))("%s", (name, signature) => {
  test("sends what Celery sends", () => {
    expect(numbered(unroll(signature, { replyTo: "client" }).calls.map(sent))).toEqual(numbered(recorded(name)));
  });
});

test("members of a group that something follows keep the group's error callbacks, also where it is the body of a chord", () => {
  const group = groupSignature([add(1, 1), add(2, 2)], { link_error: [onError] });
  const errbacksOf = ({ calls }: ReturnType<typeof unroll>): unknown[] => calls.map(({ options }) => options["link_error"]);
  expect(errbacksOf(unroll(chainSignature([group, xsum]), {}))).toEqual([[onError], [onError]]);
  expect(errbacksOf(unroll(group, { options: { chain: [xsum] } }))).toEqual([[onError], [onError]]); // as a worker calls a body
});
