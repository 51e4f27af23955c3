/**
 * Takes the place of `worker/guard.ts` in the simulation: the same loop on the same lease, in a simulated thread with a
 * connection of its own. What it says to the main thread arrives later, as messages between threads do.
 */
import type { Broker } from "../../src/brokers/broker.ts";
import { GuardLoop } from "../../src/worker/guard-loop.ts";
import type { Guard, GuardSetup } from "../../src/worker/guard.ts";
import { Lease } from "../../src/worker/lease.ts";
import type { Process } from "./process.ts";
import type { Thread, World } from "./world.ts";

export interface GuardHome {
  readonly world: World;
  readonly process: Process;
  readonly broker: Broker;
}

const STOP_DEADLINE_MS = 300;

/** Set for the seed that runs: who asks for a guard, by the thread that asks. */
export const guardHomes = new Map<Thread, GuardHome>();
export const holder: { world: World | undefined } = { world: undefined };

export function makeGuard({ options, events, deps }: GuardSetup): Guard {
  const thread = holder.world?.current.getStore();
  const home = thread && guardHomes.get(thread);
  if (home === undefined) throw new Error("a guard outside of the simulation");
  const { world, process, broker } = home;
  const { main, guard } = process;
  const lease = new Lease({ leaseMs: options.leaseMs, startedAt: deps.clock.monotonic() });
  const lastPostAt = new Map<Thread, number>();
  const post = (to: Thread, run: () => void): void => {
    if (guard.isDead) return;
    const delayMs = world.chance.one(20) ? world.chance.between(0, 20) : world.chance.between(0.01, 0.3);
    const at = Math.max(lastPostAt.get(to) ?? 0, world.now + delayMs); // messages never overtake each other
    lastPostAt.set(to, at);
    world.schedule(at - world.now, to, run);
  };
  const toMain = { renewed: () => post(main, () => events.renewed()), lost: () => post(main, () => events.lost()) };
  const loop = new GuardLoop(broker, lease, options, toMain, deps);
  let ended: () => void = () => undefined;
  const whenEnded = new Promise<void>((resolve) => (ended = resolve));
  return {
    lease,
    start: () => post(guard, () => loop.start()),
    noteParked: (dueAt) => post(guard, () => loop.noteParked(dueAt)),
    async stop() {
      post(guard, () => {
        void loop.stop().then(() => post(main, ended));
      });
      const deadline = deps.clock.timer(STOP_DEADLINE_MS, () => {
        guard.isDead = true; // terminated
        ended();
      });
      await whenEnded;
      deadline.cancel();
      guard.isDead = true;
    },
  };
}
