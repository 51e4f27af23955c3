/** What real Celery wrote, as it was recorded (fixtures/celery/README.md). */
import { readdirSync, readFileSync } from "node:fs";
import { decodeJson } from "../../src/protocol/json.ts";

const folder = new URL("./fixtures/celery/", import.meta.url);
export const VERSIONS = ["5.2.6", "5.6.3"] as const;

export interface Fixture {
  /** `5.6.3/messages/plain.json`. */
  readonly path: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- recorded data of many shapes: the tests are what checks it
  readonly data: any;
}

/** All files of one kind: `messages`, `results`, `events`, `pidbox`. */
export function fixtures(kind: string): Fixture[] {
  return VERSIONS.flatMap((version) =>
    readdirSync(new URL(`${version}/${kind}/`, folder)).map((name) => {
      const path = `${version}/${kind}/${name}`;
      return { path, data: decodeJson(readFileSync(new URL(path, folder), "utf8")) };
    }),
  );
}
