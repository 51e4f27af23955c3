/** A message that was made of calls. Only Lovage's workers know what it is. */

/** How many calls it holds; its arguments are their envelopes, as texts. */
export const AGGREGATE_HEADER = "lovage_aggregate";
