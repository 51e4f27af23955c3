/** Checked by the compiler alone: what does not fit together does not compile. */
import { expectTypeOf } from "vitest";
import { Lovage } from "./app.ts";
import type { AsyncResult } from "./async-result.ts";
import { chain, chord, group } from "./compose.ts";
import type { ChordResult } from "./chord-result.ts";
import type { GroupResult } from "./group-result.ts";

const app = new Lovage("types");
const add = app.task("add", (x: number, y: number) => x + y);
const text = app.task("text", (value: number) => String(value));
const shout = app.task("shout", (value: string) => value.toUpperCase());
const sum = app.task("sum", (list: readonly number[]) => list.length);

expectTypeOf(chain(add.s(1, 1), add.s(2), text.s()).delay()).toEqualTypeOf<Promise<AsyncResult<string>>>();
expectTypeOf(group([add.s(1, 1), text.s(1)]).delay()).toEqualTypeOf<Promise<GroupResult<[number, string]>>>();
expectTypeOf(chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay()).toEqualTypeOf<Promise<ChordResult<number>>>();
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

// the result of the whole is that of its last step, whatever the steps are
expectTypeOf(chain(add.s(1, 1), group([add.s(2), text.s()])).delay()).toEqualTypeOf<Promise<GroupResult<[number, string]>>>();
expectTypeOf(chain(group([add.s(1, 2), add.s(3, 4)]), sum.s(), text.s()).delay()).toEqualTypeOf<Promise<AsyncResult<string>>>();
expectTypeOf(chord([add.s(1, 1)], group([sum.s(), sum.s()])).delay()).toEqualTypeOf<Promise<GroupResult<[number, number]>>>();
expectTypeOf(chord([add.s(1), add.s(2)], sum.s()).delay(1)).toEqualTypeOf<Promise<ChordResult<number>>>();
void chain([add.s(1), add.s(2), chord([add.s(1), add.s(2)], sum.s())]);
// @ts-expect-error steps made at run time must each return what the next one takes
void chain([add.s(1), text.s()]);
// @ts-expect-error a group's list is no number
void chain(group([add.s(1, 1), add.s(2, 2)]), text.s());
// @ts-expect-error the header needs an argument
void chord([add.s(1), add.s(2)], sum.s()).delay();
// @ts-expect-error a callback that takes text is not given a number
void add.s(1, 1).link(shout.s());
// @ts-expect-error an error callback is given an id, which is text
void add.s(1, 1).onError(sum.s());
app.task({
  name: "replaces",
  run(ctx): number {
    // @ts-expect-error what replaces a task must have all its arguments
    if (ctx.retries > 0) ctx.replace(add.s(1));
    return ctx.replace(add.s(1, 1));
  },
});
