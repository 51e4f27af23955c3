import { Lovage } from "lovage";

/** Broker and results come from CELERY_BROKER_URL and CELERY_RESULT_BACKEND; without them both are a SQLite file in `.lovage/`. */
export const app = new Lovage("shop", {
  imports: ["./tasks.ts"], // what a worker loads beside this file
  resultExtended: true, // results say how many attempts there were: the page shows it
});
