/** Checked by the compiler alone: what does not fit together does not compile. */
import { expectTypeOf } from "vitest";
import { Lovage } from "./app.ts";
import type { AsyncResult } from "./async-result.ts";
import { chain, chord, group } from "./compose.ts";
import type { GroupResult } from "./group-result.ts";

const app = new Lovage("types");
const add = app.task("add", (x: number, y: number) => x + y);
const text = app.task("text", (value: number) => String(value));
const shout = app.task("shout", (value: string) => value.toUpperCase());
const sum = app.task("sum", (list: readonly number[]) => list.length);

expectTypeOf(chain(add.s(1, 1), add.s(2), text.s()).delay()).toEqualTypeOf<Promise<AsyncResult<string>>>();
expectTypeOf(group([add.s(1, 1), text.s(1)]).delay()).toEqualTypeOf<Promise<GroupResult<[number, string]>>>();
expectTypeOf(chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay()).toEqualTypeOf<Promise<AsyncResult<number>>>();
void chain(add.s(1, 1), group([add.s(2), add.s(3)]), sum.s(), text.s());
void chain(text.s(1), add.si(1, 1));
// @ts-expect-error a number is not text
void chain(add.s(1, 1), shout.s());
// @ts-expect-error it has all its arguments, and would be given one more
void chain(add.s(1, 1), add.s(1, 1));
// @ts-expect-error its first step needs an argument
void chain(add.s(1), text.s()).delay();
// @ts-expect-error texts are no numbers
void chord([text.s(1), text.s(2)], sum.s());
// @ts-expect-error no such argument
void add.s("1", 2);
