import { Lovage, TaskRevokedError } from "lovage";

export const app = new Lovage("media");

// #region task
/** Ends as soon as its signal aborts: whoever uploaded the video has deleted it. */
export const transcode = app.task({
  name: "media.transcode",
  async run({ signal }, video: string): Promise<string> {
    for (let part = 0; part < 600; part++) {
      signal.throwIfAborted();
      await transcodePart(video, part, signal);
    }
    return `${video}.webm`;
  },
});
// #endregion

// #region revoke
/** Whether it waits in a queue, for its time, or runs: it is not to go on. */
export async function cancelTranscoding(taskId: string): Promise<void> {
  await app.result(taskId).revoke();
}

export async function outcomeOf(taskId: string): Promise<string> {
  try {
    return await app.result<string>(taskId).get({ timeout: "10s" });
  } catch (error) {
    if (error instanceof TaskRevokedError) return "cancelled";
    throw error;
  }
}
// #endregion

// #region stamps
export const transcodeFor = async (tenant: string, video: string) =>
  await transcode.applyAsync([video], null, { stampedHeaders: ["tenant"], stamps: { tenant } });

/** All that this tenant has sent, and all that it sends for the next week. */
export async function cancelTenant(tenant: string): Promise<void> {
  await app.control.revokeByStampedHeaders({ tenant });
}
// #endregion

// #region ping
export async function workersOnline(): Promise<string[]> {
  const replies = await app.control.ping({ timeout: "1s" });
  return replies.map(({ node }) => node);
}
// #endregion

async function transcodePart(_video: string, _part: number, signal: AbortSignal): Promise<void> {
  const { setTimeout } = await import("node:timers/promises");
  await setTimeout(100, undefined, { signal });
}
