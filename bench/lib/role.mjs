/**
 * One process of a benchmark: the producer or the worker of one system.
 * The runner writes one JSON line `{ id, command, args }` a request to stdin; answers `{ id, value | error }` and events `{ event, ... }` go to
 * descriptor 3, because libraries print to stdout. The process ends when stdin does, so none outlives the runner.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { nowMs } from "./clock.mjs";

const nodeRole = new URL("./node-role.mjs", import.meta.url).pathname;
const requestTimeoutMs = 300_000;

/**
 * @param {object} system one line-up entry: adapter id, concurrency, and what else its adapter reads
 * @param {"producer" | "worker"} role
 * @param {object} config plain data for the adapter: url, results, concurrency, expect ...
 */
export function startRole(system, role, config, { nodeOptions = [] } = {}) {
  const [program, ...programArgs] = system.python
    ? [system.python, new URL(`../python/${role}.py`, import.meta.url).pathname]
    : [process.execPath, ...nodeOptions, nodeRole, system.adapter, role];
  const spawnedAt = nowMs();
  const child = spawn(program, [...programArgs, JSON.stringify(config)], {
    stdio: ["pipe", "ignore", system.verbose ? "inherit" : "pipe", "pipe"],
    env: { ...process.env, NODE_ENV: "production" },
  });
  let complaint = ""; // shown only when the process dies
  child.stderr?.on("data", (chunk) => (complaint = (complaint + chunk).slice(0, 1000)));
  child.stdin.on("error", () => {}); // the process is gone; `exited` says so

  const waiting = new Map();
  const events = new Map();
  let nextId = 1;
  let ended;
  const exited = new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      ended = new Error(`${system.id} ${role} ended with ${code ?? signal}\n${complaint}`);
      for (const { reject } of waiting.values()) reject(ended);
      for (const event of events.values()) event.reject(ended);
      resolve();
    });
  });

  const slot = (name) => {
    let entry = events.get(name);
    if (!entry) {
      entry = withResolvers();
      entry.promise.catch(() => {}); // also when nobody waits for this event
      events.set(name, entry);
      if (ended) entry.reject(ended);
    }
    return entry;
  };
  createInterface({ input: child.stdio[3] }).on("line", (line) => {
    const message = JSON.parse(line);
    if (message.event) return slot(message.event).resolve(message);
    const { resolve, reject } = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error) reject(new Error(`${system.id} ${role}: ${message.error}`));
    else resolve(message.value);
  });

  return {
    pid: child.pid,
    spawnedAt,
    /** The first event of this name, past or future. */
    event: (name) => deadline(slot(name).promise, `${system.id} ${role}: ${name}`),
    request(command, args) {
      if (ended) return Promise.reject(ended);
      const id = nextId++;
      const { promise, resolve, reject } = withResolvers();
      waiting.set(id, { resolve, reject });
      child.stdin.write(JSON.stringify({ id, command, args }) + "\n");
      return deadline(promise, `${system.id} ${role}: ${command}`);
    },
    /** Ends it in its own time; after 10 s without asking. */
    async stop() {
      const hard = setTimeout(() => child.kill("SIGKILL"), 10_000);
      child.stdin.end();
      await exited;
      clearTimeout(hard);
    },
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

function deadline(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer for ${requestTimeoutMs / 1000} s`)), requestTimeoutMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function withResolvers() {
  let resolve, reject;
  const promise = new Promise((yes, no) => ((resolve = yes), (reject = no)));
  return { promise, resolve, reject };
}
