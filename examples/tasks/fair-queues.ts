import { Lovage } from "lovage";

// #region tasks
export const app = new Lovage("imports", {
  taskDefaultQueue: "imports",
  taskQueues: { imports: { fair: true } },
});

/** Rows of many tenants, through one queue: each tenant is a key. */
export const importRow = app.task("imports.row", { fairKey: (tenant: string) => tenant }, async (tenant: string, row: number) => {
  return `${tenant} ${row}`;
});
// #endregion

// #region call
/** The same for a task of another program, and for a call that is charged to somebody else. */
export async function importFor(payer: string, tenant: string, row: number): Promise<void> {
  await importRow.applyAsync([tenant, row], null, { fairKey: payer });
  await app.sendTask("reports.refresh", [tenant], undefined, { queue: "imports", fairKey: payer });
}
// #endregion

// #region operate
export async function onAbuse(tenant: string): Promise<void> {
  await app.fairness.setDefaults("imports", { limit: 5 }); // at most five of any tenant at once, in all workers together
  await app.fairness.set("imports", "acme", { weight: 3, limit: 20 }); // who pays for it
  await app.fairness.pause("imports", tenant, { reason: "a million bad rows" });
}

export async function busiest(): Promise<string[]> {
  const { keys } = await app.fairness.state("imports");
  return keys.map(({ key, waiting, running }) => `${key}: ${waiting} waiting, ${running} running`);
}
// #endregion
