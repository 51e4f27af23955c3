/// <reference types="node" preserve="true" />
/** `lovage/testing`: a clock to turn by hand and an app without servers, for the tests of those who use Lovage. */
export { FakeClock } from "./fake-clock.ts";
export { memoryApp } from "./memory-app.ts";
