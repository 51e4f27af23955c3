/** Completion scripts for the three shells. Pure: the model in, the text of a script out. They ask nothing at run time, so completing is instant. */
import type { CompletedCommand, CompletedOption, CompletionModel } from "./model.ts";

export function bashScript(model: CompletionModel): string {
  const takesValue = [...model.globals, ...model.commands.flatMap((command) => command.options)].filter(
    (option) => option.value.kind !== "none",
  );
  const cases = model.commands.map((command) => `    ${command.name}) words="${bashWords(command.options, command.words)}" ;;`);
  const values = model.commands.flatMap((command) => command.options.map((option) => bashValue(command.name, option)));
  const globalValues = model.globals.map((option) => bashValue("*", option));
  return `# bash completion of lovage
_lovage() {
  local current previous command word words i
  current="\${COMP_WORDS[COMP_CWORD]}"
  previous="\${COMP_WORDS[COMP_CWORD-1]}"
  command=""
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      ${unique(takesValue.flatMap(spellings)).join("|")}) ((i++)) ;;
      -*) ;;
      *) command="$word"; break ;;
    esac
  done
  COMPREPLY=()
  case "$command:$previous" in
${[...values, ...globalValues].filter((line) => line !== "").join("\n")}
  esac
  case "$command" in
    "") words="${bashWords([], model.commands.map((command) => command.name))}" ;;
${cases.join("\n")}
    *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words ${bashWords(model.globals, [])}" -- "$current"))
}
complete -o bashdefault -F _lovage lovage
`; // prettier-ignore
}

function bashValue(command: string, option: CompletedOption): string {
  const answer = bashAnswer(option);
  if (answer === undefined) return "";
  const pattern = spellings(option).map((spelling) => `${command}:${spelling}`);
  return `    ${pattern.join("|")}) ${answer}; return ;;`;
}

function bashAnswer({ value }: CompletedOption): string | undefined {
  switch (value.kind) {
    case "none":
      return undefined;
    case "any":
      return ":";
    case "file":
      return `compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current"))`;
    case "directory":
      return `compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current"))`;
    case "choices":
      return `COMPREPLY=($(compgen -W "${value.choices.join(" ")}" -- "$current"))`;
  }
}

function bashWords(options: readonly CompletedOption[], words: readonly string[]): string {
  return [...words, ...options.flatMap(spellings)].join(" ");
}

/** The lone colon ends the options of `_arguments` itself, which would take our -A for one of its own. */
export function zshScript(model: CompletionModel): string {
  const commands = model.commands.map(({ name, summary }) => `    ${quote(`${name}:${summary}`)}`);
  const cases = model.commands.map(
    (command) => `      ${command.name})\n        _arguments -S : ${zshCommand(command, model)}\n        ;;`,
  );
  return `#compdef lovage
_lovage() {
  local context state state_descr line
  typeset -A opt_args
  local -a commands=(
${commands.join("\n")}
  )
  _arguments -C -S : ${model.globals.flatMap(zshOption).join(" ")} '1: :->command' '*:: :->rest'
  case $state in
    command) _describe command commands ;;
    rest)
      case $words[1] in
${cases.join("\n")}
      esac
      ;;
  esac
}
if [ "$funcstack[1]" = _lovage ]; then _lovage "$@"; else compdef _lovage lovage; fi
`;
}

function zshCommand(command: CompletedCommand, model: CompletionModel): string {
  const argument = command.words.length > 0 ? [quote(`1: :(${command.words.join(" ")})`)] : [];
  return [...[...command.options, ...model.globals].flatMap(zshOption), ...argument].join(" ");
}

function zshOption(option: CompletedOption): string[] {
  const text = option.description.replaceAll(/[[\]\\]/g, "\\$&");
  const action = zshAction(option);
  return spellings(option).map((spelling) => quote(`${spelling}[${text}]${action}`));
}

function zshAction({ value }: CompletedOption): string {
  switch (value.kind) {
    case "none":
      return "";
    case "any":
      return ":value: ";
    case "file":
      return ":file:_files";
    case "directory":
      return ":directory:_files -/";
    case "choices":
      return `:value:(${value.choices.join(" ")})`;
  }
}

export function fishScript(model: CompletionModel): string {
  const lines = ["# fish completion of lovage", "complete -c lovage -f"];
  for (const option of model.globals) lines.push(fishOption(option, undefined));
  for (const command of model.commands) {
    lines.push(`complete -c lovage -n __fish_use_subcommand -a ${command.name} -d ${quote(command.summary)}`);
    const condition = quote(`__fish_seen_subcommand_from ${command.name}`);
    for (const option of command.options) lines.push(fishOption(option, condition));
    if (command.words.length > 0) lines.push(`complete -c lovage -n ${condition} -a ${quote(command.words.join(" "))}`);
  }
  return `${lines.join("\n")}\n`;
}

function fishOption(option: CompletedOption, condition: string | undefined): string {
  const parts = ["complete -c lovage"];
  if (condition !== undefined) parts.push(`-n ${condition}`);
  if (option.short !== undefined) parts.push(`-s ${option.short.slice(1)}`);
  parts.push(`-l ${option.long.slice(2)}`, fishValue(option), `-d ${quote(option.description)}`);
  return parts.filter((part) => part !== "").join(" ");
}

function fishValue({ value }: CompletedOption): string {
  switch (value.kind) {
    case "none":
      return "";
    case "any":
      return "-x";
    case "file":
      return "-r -F";
    case "directory":
      return "-x -a '(__fish_complete_directories)'";
    case "choices":
      return `-x -a ${quote(value.choices.join(" "))}`;
  }
}

function spellings({ short, long }: CompletedOption): string[] {
  return short === undefined ? [long] : [short, long];
}

function unique(words: readonly string[]): string[] {
  return [...new Set(words)];
}

/** For all three shells; descriptions hold no single quotes but these. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
