/** Set up for every fault test: a rejection that nobody handles would end a user's process, so it fails the test file. */
import { afterAll, expect } from "vitest";

const unhandled: unknown[] = [];
process.on("unhandledRejection", (reason) => void unhandled.push(reason));
afterAll(() => expect(unhandled).toEqual([]));
