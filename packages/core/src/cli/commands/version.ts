import { defineCommand } from "../command.ts";
import { lovageVersion } from "../version.ts";

export const version = defineCommand({
  options: {},
  arguments: [],
  async run({ output }) {
    const versions = { lovage: lovageVersion(), node: process.versions.node, platform: `${process.platform} ${process.arch}` };
    output.answer(versions, () => `lovage ${versions.lovage} (Node ${versions.node}, ${versions.platform})`);
  },
});
