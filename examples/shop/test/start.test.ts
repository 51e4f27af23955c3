import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { RunningShop } from "./running-shop.ts";

/** What `npm start` is to print, whatever broker it runs on. */
function expectSampleAndOrders(output: string): void {
  expect(output).toMatch(/seattle-weather\.csv: precipitation in 1461 rows, 2012-01 to 2015-12/);
  expect(output).toMatch(/total +4426\.0/);
  expect(output).toMatch(/weather rain +4203\.6 +in 641 rows/);
  expect(output.match(/^Order of .* paid at attempt \d+, receipt [0-9A-F]{8}$/gm)).toHaveLength(3);
  expect(output).toMatch(/paid at attempt [2-9]/);
}

/** With what the shop has printed, so that a failed test shows it. */
async function outcome(shop: RunningShop, exit = shop.ended): Promise<{ code: number | null; output: string }> {
  return { code: await exit, output: shop.output };
}

test("it reports on the sample, has three orders paid, and ends with --once", async () => {
  await using shop = await RunningShop.start(["--once"]);
  expect(await outcome(shop, shop.ended)).toMatchObject({ code: 0 });
  expectSampleAndOrders(shop.output);
});

test("it runs on Redis with one variable", async () => {
  await using redis = await startRedis();
  await using shop = await RunningShop.start(["--once"], { CELERY_BROKER_URL: redis.url });
  expect(await outcome(shop, shop.ended)).toMatchObject({ code: 0 });
  expectSampleAndOrders(shop.output);
});

test("Ctrl+C ends it and all its processes", async () => {
  await using shop = await RunningShop.start();
  await shop.printed(/Ctrl\+C closes the shop/);
  expect(await outcome(shop, shop.stop())).toMatchObject({ code: 0 });
});

test.skipIf(process.platform !== "linux")("when one of its processes dies it says which, and ends the others", async () => {
  await using shop = await RunningShop.start();
  await shop.printed(/Ctrl\+C closes the shop/);
  const children = await readFile(`/proc/${shop.process.pid}/task/${shop.process.pid}/children`, "utf8");
  const first = Number(children.split(" ")[0]);
  process.kill(first, "SIGKILL");
  expect(await outcome(shop, shop.ended)).toMatchObject({ code: 1 });
  expect(shop.output).toMatch(/The payment service has ended by itself \(SIGKILL\)/);
});

async function startRedis(): Promise<AsyncDisposable & { readonly url: string }> {
  const port = await freePort();
  const server = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const text of server.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    if (String(text).includes("Ready to accept connections")) break;
  }
  server.stdout.resume();
  return {
    url: `redis://127.0.0.1:${port}/0`,
    async [Symbol.asyncDispose]() {
      const ended = once(server, "exit");
      server.kill("SIGTERM");
      await ended;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
