import { silentLogger, type LogFields, type Logger } from "../shared/log.ts";
import { currentApp, currentTask } from "./process-wide.ts";

/**
 * The log for code below a task that is not handed its context: inside of a task every line carries the task's name
 * and id, elsewhere it is the current app's log.
 */
export const taskLogger: Logger = {
  debug: (fields, message) => current().debug(fields, message),
  info: (fields, message) => current().info(fields, message),
  warn: (fields, message) => current().warn(fields, message),
  error: (fields, message) => current().error(fields, message),
  child: (fields: LogFields) => current().child(fields),
};

function current(): Logger {
  return currentTask()?.log ?? currentApp()?.logger ?? silentLogger;
}
