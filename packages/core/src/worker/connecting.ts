/** Reaching the broker and the results when a worker starts: what is away is waited for, as the settings say. */
import type { Lovage } from "../app/app.ts";
import { sleep } from "../shared/clock.ts";
import { errorText, LovageError } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";

const RETRY = { baseMs: 500, maxMs: 5000 };

export interface PatienceOptions {
  readonly app: Lovage;
  /** Aborts when the worker is to stop. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** It is away, in words; undefined once it answers. */
  trouble(text: string | undefined): void;
}

/** Tries until it succeeds, unless the error will not pass or the settings say not to wait. @throws that error, or the signal's reason */
export async function connectPatiently<T>(open: () => Promise<T>, { app, signal, logger, trouble }: PatienceOptions): Promise<T> {
  const { settings, clock, random } = app;
  const max = settings.brokerConnectionMaxRetries ?? Number.POSITIVE_INFINITY;
  for (let failures = 0; ; failures++) {
    signal.throwIfAborted();
    try {
      const opened = await open();
      trouble(undefined);
      return opened;
    } catch (error) {
      const isPassing = error instanceof LovageError && error.transient;
      if (!isPassing || !settings.brokerConnectionRetryOnStartup || failures >= max) throw error;
      trouble(errorText(error));
      const delayMs = backoffMs(failures, RETRY, random);
      logger.error({ err: error, delayMs }, `${errorText(error)}. Trying again in ${(delayMs / 1000).toFixed(1)} s`);
      await sleep(clock, delayMs, signal).catch(() => undefined);
    }
  }
}
