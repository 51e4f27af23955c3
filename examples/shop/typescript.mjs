/** Runs TypeScript: Node does so by itself from 22.18 on, before that jiti, which comes with Lovage. */
export async function load(file) {
  const url = new URL(file, import.meta.url).href;
  if (process.features.typescript) return import(url);
  const { createJiti } = await import("jiti");
  return createJiti(import.meta.url, { nativeModules: ["lovage"] }).import(url);
}
