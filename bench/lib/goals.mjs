/** What Lovage has to reach, as ratios to peers of the same run; where a peer ran in several settings, to the best of them. */
const bullmq = { ours: "lovage-256", peers: ["bullmq", "bullmq-500"], measure: "perSecond" };
const plainjob = { ours: "lovage-sqlite", peers: ["plainjob"], measure: "perSecond" };

export const goals = [
  { workload: "W1a", title: "enqueue, each awaited", ...bullmq, atLeast: 1.2 },
  { workload: "W1b", title: "enqueue, 100 at a time", ...bullmq, atLeast: 3 },
  { workload: "W1c", title: "enqueue, 1,000 a call", ...bullmq, atLeast: 5 },
  { workload: "W2", title: "drain, results off", ...bullmq, atLeast: 4.5 },
  { workload: "W2r", title: "drain, results stored", ...bullmq, atLeast: 3.5 },
  { workload: "W3", title: "producer and worker", ...bullmq, atLeast: 5 },
  { workload: "W4", title: "result p50", ...bullmq, measure: "resultP50", atMost: 0.5 },
  { workload: "W10", title: "chord of 1,000", ...bullmq, measure: "workflowMs", atMost: 0.4 },
  {
    workload: "W10",
    title: "chord of 1,000",
    ours: "lovage-256",
    peers: ["celery-prefork", "celery-solo"],
    measure: "workflowMs",
    atMost: 0.1,
  },
  {
    workload: "W2",
    title: "drain, results off",
    ours: "lovage-256",
    peers: ["celery-prefork", "celery-solo"],
    measure: "perSecond",
    atLeast: 30,
  },
  { workload: "W2", title: "drain, results off", ...plainjob, atLeast: 2 },
  { workload: "W3", title: "producer and worker", ...plainjob, atLeast: 2 },
];
