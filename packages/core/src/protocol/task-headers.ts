/** Headers of a task message that are the protocol's (celery-protocol 1.1): no header of the user's may take their name. */
export const PROTOCOL_HEADERS: ReadonlySet<string> = new Set([
  "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id", "parent_id", "argsrepr",
  "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps", "compression",
]); // prettier-ignore
