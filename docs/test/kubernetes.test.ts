/** The deployment that docs/health.md shows: its probes ask where the worker answers, and its grace is longer than the worker's. */
import { readFileSync } from "node:fs";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { parse } from "yaml";

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds: number;
  readonly failureThreshold: number;
}
interface Container {
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
}

const file = parse(readFileSync(new URL("../../deploy/kubernetes/worker.yaml", import.meta.url), "utf8"));
const pod = file.spec.template;
const [container] = pod.spec.containers as readonly [Container];
const { startupProbe, readinessProbe, livenessProbe } = container;

test("the worker answers where the probes and Prometheus ask", () => {
  const port = Number(container.args[container.args.indexOf("--health-port") + 1]);
  expect(container.ports).toEqual([{ name: startupProbe.httpGet.port, containerPort: port }]);
  expect(pod.metadata.annotations).toMatchObject({ "prometheus.io/port": String(port), "prometheus.io/path": "/metrics" });
  expect([startupProbe, readinessProbe, livenessProbe].map(({ httpGet }) => httpGet)).toEqual([
    { path: "/readyz", port: "health" },
    { path: "/readyz", port: "health" },
    { path: "/livez", port: "health" },
  ]);
});

test("a worker is given longer than it gives its tasks", async () => {
  await using app = new Lovage("grace", { brokerUrl: "memory://", env: false, configFile: false });
  expect(pod.spec.terminationGracePeriodSeconds * 1000).toBeGreaterThan(app.settings.shutdownGraceMs + 5000);
});
