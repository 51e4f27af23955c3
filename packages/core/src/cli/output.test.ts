import { expect, test } from "vitest";
import { Output, wantsColor } from "./output.ts";

test("colours: a terminal has them, NO_COLOR and -C take them, FORCE_COLOR gives them", () => {
  const sink = { write: () => true };
  const terminal = { ...sink, isTTY: true };
  expect(wantsColor(terminal, { color: true, env: {} })).toBe(true);
  expect(wantsColor(sink, { color: true, env: {} })).toBe(false);
  expect(wantsColor(terminal, { color: false, env: {} })).toBe(false);
  expect(wantsColor(terminal, { color: true, env: { NO_COLOR: "1" } })).toBe(false);
  expect(wantsColor(terminal, { color: true, env: { TERM: "dumb" } })).toBe(false);
  expect(wantsColor(sink, { color: true, env: { FORCE_COLOR: "1" } })).toBe(true);
  expect(wantsColor(terminal, { color: true, env: { FORCE_COLOR: "0" } })).toBe(false);
});

test("with --json the answer is one document; what JSON has no word for is told as text", () => {
  const written: string[] = [];
  const sink = { write: (text: string) => written.push(text) };
  const output = new Output({ stdout: sink, stderr: sink, json: true, quiet: true, color: true, env: {} });
  output.answer({ long: 12345678901234567890n, bytes: Buffer.from("hi"), when: new Date(0) }, () => "for people");
  output.note("not said when quiet");
  expect(written).toHaveLength(1);
  expect(JSON.parse(written[0] as string)).toEqual({ long: "12345678901234567890", bytes: "aGk=", when: "1970-01-01T00:00:00.000Z" });
});
