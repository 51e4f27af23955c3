/** `lovage completion`: a script for the user's shell, made from the command table. */
import { defineCommand } from "../command.ts";
import { GLOBAL_OPTIONS } from "../global-options.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;

export const completion = defineCommand({
  options: {},
  arguments: [{ name: "shell", description: "which shell", required: true, choices: SHELLS }],
  examples: [
    'bash:  eval "$(lovage completion bash)"      in ~/.bashrc',
    'zsh:   eval "$(lovage completion zsh)"       in ~/.zshrc, after compinit',
    "fish:  lovage completion fish | source       in ~/.config/fish/config.fish",
  ],
  async run({ output }, _options, [shell]) {
    // The table loads this file, so it is asked for only now.
    const { COMMANDS } = await import("../command-table.ts");
    const { completionModel } = await import("../completion/model.ts");
    const scripts = await import("../completion/scripts.ts");
    const model = await completionModel(COMMANDS, GLOBAL_OPTIONS);
    const script = { bash: scripts.bashScript, zsh: scripts.zshScript, fish: scripts.fishScript }[shell as (typeof SHELLS)[number]](model);
    output.answer({ shell, script }, () => script.trimEnd());
  },
});
