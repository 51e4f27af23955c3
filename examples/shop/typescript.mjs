/** Lets Node run TypeScript: from 22.18 on it does so by itself, before that through jiti, which comes with Lovage. */
if (!process.features.typescript) await import("jiti/register");
