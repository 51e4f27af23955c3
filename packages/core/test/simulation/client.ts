/** An application that only sends, in a process of the simulation that does not die. */
import type { Lovage } from "../../src/app/app.ts";
import { Calls } from "../../src/app/calls.ts";
import { Producer } from "../../src/app/producer.ts";
import { Driver } from "./driver.ts";
import { type Faults, Process } from "./process.ts";
import type { Server } from "./server.ts";
import { makeApp, type Times } from "./tasks.ts";
import type { World } from "./world.ts";

export interface Client {
  readonly process: Process;
  readonly driver: Driver;
  readonly app: Lovage;
  readonly calls: Calls;
}

export function makeClient(world: World, server: Server, faults: Faults, times: Times): Client {
  const process = new Process(world, "client", { ...faults, death: 0 });
  const driver = new Driver(process, server, true);
  const app = makeApp(process, times);
  const calls: Calls = new Calls(app, process.clock, () => producer);
  const producer = new Producer({
    appName: "sim",
    broker: async () => driver,
    location: () => driver.location,
    clock: process.clock,
    random: process.random,
    buffer: { max: 0, timeoutMs: 0 },
    publishTimeoutMs: app.settings.publishTimeoutMs,
    retry: app.settings.taskPublishRetryPolicy,
    declared: calls.routing.declared,
  });
  return { process, driver, app, calls };
}
