/** Celery's node names: `name@host`, with %h (full host name), %n (name before the @), %d (domain), %i and %I (nothing here), %% (celery/utils/nodenames.py). */
export function nodeName(pattern: string, host: string): string {
  const full = pattern.includes("@") ? pattern : `${pattern}@%h`;
  const before = full.slice(0, full.indexOf("@"));
  const domain = host.includes(".") ? host.slice(host.indexOf(".") + 1) : "";
  const values: Readonly<Record<string, string>> = {
    h: host,
    n: before.includes("%") ? "celery" : before,
    d: domain,
    i: "",
    I: "",
    "%": "%",
  };
  return full.replaceAll(/%([hndiI%])/g, (_, letter: string) => values[letter] as string);
}
