import { extname } from "node:path";

/** Blocks in the docs that show a file: `<!-- file: path -->`, or `path#region`, before a fenced block. `shown` is undefined where the block is missing. */
export function snippetsOf(page) {
  return [...page.matchAll(/<!-- file: (\S+?)(?:#(\S+))? -->(?:\n+```(?!console|sh\n)(\w+)\n([\s\S]*?)```)?/g)].map(
    ([block, file, region, language = LANGUAGES[extname(file)], shown]) => ({
      block,
      file,
      region,
      language,
      shown,
      mark: region ? `${file}#${region}` : file,
    }),
  );
}

const LANGUAGES = { ".ts": "ts", ".mjs": "js", ".cjs": "js", ".py": "python", ".yaml": "yaml" };

/** The whole text, or what stands between `// #region name` and `// #endregion` (`#` in Python), unindented. */
export function excerpt(text, region) {
  if (region === undefined) return text;
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.trim() === `// #region ${region}` || line.trim() === `# region ${region}`);
  const end = lines.findIndex((line, at) => at > start && /^\s*(\/\/ #|# )endregion/.test(line));
  if (start < 0 || end < 0) throw new Error(`there is no region "${region}"`);
  const part = lines.slice(start + 1, end);
  const indent = Math.min(...part.filter((line) => line.trim()).map((line) => line.search(/\S/)));
  return part.map((line) => line.slice(indent)).join("\n") + "\n";
}
