/** A member's part as arguments of register-part.lua, without the index of its group's keys. */
import type { Argument } from "./connection.ts";

/** The shape of the result backend's parts. */
export interface PartRow {
  readonly groupId: string;
  readonly taskId: string;
  readonly index: number | undefined;
  readonly part: string | Uint8Array;
  readonly expiresMs: number | undefined;
  readonly rootId: string;
  readonly priority: number;
  readonly body: string;
}

/** @param body instead of the part's own: where it stands already */
export function partArguments(row: PartRow, body: string = row.body): Argument[] {
  const { groupId, taskId, index, part, expiresMs, rootId, priority } = row;
  return [groupId, taskId, index ?? "+inf", part, secondsToLive(expiresMs), `${rootId}\n${priority}`, body];
}

/** 0: for ever. */
export function secondsToLive(expiresMs: number | undefined): number {
  return expiresMs === undefined || expiresMs <= 0 ? 0 : Math.max(1, Math.ceil(expiresMs / 1000));
}
