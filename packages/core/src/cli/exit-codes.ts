/**
 * What `lovage` answers its caller. Codes above 2 are those of sysexits.h, so that service managers and scripts can
 * tell "try again" (69, 75) from "somebody must change something" (66, 78). Listed in docs/cli.md.
 */
export const EXIT = {
  ok: 0,
  /** It was tried and failed: the task raised an error, a purge was not confirmed, workers kept dying. */
  failure: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The app module is not there, cannot be loaded, or holds no app. */
  noApp: 66,
  /** Broker or result backend cannot be reached, or did not take the message. */
  unavailable: 69,
  /** A defect of Lovage. */
  internal: 70,
  /** The time given was over before there was a result. */
  timeout: 75,
  /** A setting is missing, unknown or not accepted. */
  configuration: 78,
  /** Ended by Ctrl+C, as shells count it: 128 + SIGINT. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Codes that starting again does not change: a supervisor gives up at once. */
export function isPermanent(code: number): boolean {
  return code === EXIT.usage || code === EXIT.noApp || code === EXIT.configuration;
}
