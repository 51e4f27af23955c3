/** Settings of events, remote control, signing and beat, and what a service manager does. */
import { duration, flag, integer, optional, optionalDuration, plainObject, text } from "../setting-kinds.ts";
import { amqpOnly, setting, unused, type Setting } from "./setting.ts";

const DAEMON = "Processes are started by a service manager (systemd, Kubernetes), which does this.";

export const SERVICE_SETTINGS = {
  // Events and remote control
  eventQueueExpires: amqpOnly(duration, 60, "Queues of monitors that are gone are deleted after this time."),
  eventQueueTtl: amqpOnly(duration, 5, "Events that nobody fetched are dropped after this time."),
  eventQueuePrefix: setting(text, "celeryev", "Names of monitors' queues begin so."),
  eventQueueExclusive: amqpOnly(flag, false, "Queues of monitors are exclusive."),
  eventQueueDurable: amqpOnly(flag, false, "Queues of monitors survive a restart."),
  eventSerializer: setting(text, "json", "Serializer of events."),
  eventExchange: setting(text, "celeryev", "Exchange of events."),
  controlQueueTtl: amqpOnly(duration, 300, "Commands that nobody fetched are dropped after this time."),
  controlQueueExpires: amqpOnly(duration, 10, "Control queues of workers that are gone are deleted after this time."),
  controlQueueExclusive: amqpOnly(flag, false, "Control queues are exclusive."),
  controlQueueDurable: amqpOnly(flag, false, "Control queues survive a restart."),
  controlExchange: setting(text, "celery", "Prefix of the exchange of remote control: `<this>.pidbox`."),

  // Signing
  securityCertificate: setting(optional(text), null, "File of the certificate that signs messages."),
  securityCertStore: setting(optional(text), null, "Files of the certificates that are trusted."),
  securityKey: setting(optional(text), null, "File of the private key.", { secret: true }),
  securityKeyPassword: setting(optional(text), null, "Its password.", { secret: true }),
  securityDigest: setting(text, "sha256", "Digest of signatures."),

  // Beat
  beatSchedule: setting(plainObject, {}, "Entries that beat publishes when they are due."),
  beatScheduler: setting(optional(text), null, "Where beat keeps its entries."),
  beatScheduleFilename: setting(text, "celerybeat-schedule", "File of beat's entries."),
  beatSyncEvery: setting(integer(), 0, "Save entries after so many tasks; 0 by time only."),
  beatMaxLoopInterval: setting(duration, 0, "Longest sleep of beat; 0 leaves it to the scheduler."),
  beatCronStartingDeadline: setting(optionalDuration, null, "Runs that were missed by more than this are skipped."),

  // What a service manager does
  ...daemonSettings(),
} as const;

type DaemonSetting = `${"worker" | "beat" | "events"}${"Logfile" | "Pidfile" | "Uid" | "Gid" | "Umask" | "Executable"}`;

function daemonSettings(): Record<DaemonSetting, Setting> {
  const rows = ["worker", "beat", "events"].flatMap((program) =>
    ["Logfile", "Pidfile", "Uid", "Gid", "Umask", "Executable"].map((option) => [program + option, unused(DAEMON)] as const),
  );
  return Object.fromEntries(rows) as Record<DaemonSetting, Setting>;
}
