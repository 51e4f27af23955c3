import { Lovage } from "lovage";

/**
 * The broker comes from CELERY_BROKER_URL; without it messages and results are in a SQLite file in `.lovage/`.
 * Results are kept where the messages are, unless CELERY_RESULT_BACKEND names another place.
 */
export const app = new Lovage("shop", {
  resultBackend: process.env["CELERY_BROKER_URL"] ?? null,
  resultExtended: true, // results say which worker and attempt they are from: the page shows it
  imports: ["./tasks.ts"], // what a worker loads beside this file
});
