/** Lovage on its embedded broker: the same code, another URL. */
import * as lovage from "./lovage.mjs";

const onFile = (config) => ({ ...config, url: `sqlite://${config.url}` });

export const openProducer = (config) => lovage.openProducer(onFile(config));
export const openWorker = (config, tasks) => lovage.openWorker(onFile(config), tasks);
