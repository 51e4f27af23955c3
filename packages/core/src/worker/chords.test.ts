/** What a chord's end makes of parts that another program counted twice. The rest is in `canvas.test.ts`. */
import { expect, test } from "vitest";

import type { Broker } from "../brokers/broker.ts";
import type { Groups } from "../results/groups.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import { silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { Chords, type ChordDeps } from "./chords.ts";
import type { QuietGroups } from "./quiet-groups.ts";
import type { WorkflowRules } from "./workflow.ts";

const SUCCESS = '[1, "a", "SUCCESS", 5]';
const FAILURE = '[1, "a", "FAILURE", {"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}]';

test.each([
  ["failed first", [FAILURE, SUCCESS]],
  ["succeeded first", [SUCCESS, FAILURE]],
  ["failed twice after it", [SUCCESS, FAILURE, `${FAILURE} `]],
])("a member that counted more than once, and %s, is one: its failures are surplus, and the group is open again", async (_, parts) => {
  const reopened: unknown[] = [];
  const ends: unknown[] = [];
  const groups: Partial<Groups> = {
    due: async () => ({ memberId: "a", rootId: "a", priority: 0, body: "{}", lost: undefined }),
    parts: async () => ({ parts, expected: 2 }),
    reopen: async (groupId, surplus) => {
      reopened.push([groupId, surplus]);
      return true;
    },
    end: async (ids) => ids.map((id) => Boolean(ends.push(id))),
  };
  const deps: ChordDeps = {
    backend: { groups } as unknown as ResultBackend,
    broker: { settlesWith: () => false, publish: async (messages) => void ends.push(messages) } as Partial<Broker> as Broker,
    rules: { resultSerializer: "json", resultExpiresMs: undefined } as unknown as WorkflowRules,
    accept: new Set(["application/json"]),
    home: "q",
    quiet: {} as QuietGroups,
    brokerNow: () => 0,
    clock: new FakeClock(),
    random: () => 0.5,
    logger: silentLogger,
  };
  const chords = new Chords(deps);
  chords.finish("g");
  await chords.whenIdle();
  expect(reopened).toEqual([["g", parts.filter((part) => part !== SUCCESS)]]);
  expect(ends).toEqual([]);
});
