/// <reference lib="dom" />
import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { RunningShop } from "./running-shop.ts";

const executablePath = [process.env["LOVAGE_TEST_CHROMIUM"], "/usr/bin/chromium"].find((path) => path && existsSync(path));
const skipped = !executablePath && process.env["CI"] !== "true";
if (skipped) console.warn("The tests of the shop's page are skipped: there is no Chromium here (apt-get install chromium).");

const ARGS =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

describe.skipIf(skipped)("the shop's page", () => {
  let shop: RunningShop;
  let url: string;
  let browser: Browser;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => {
    if (!executablePath) throw new Error("The page cannot be tested without Chromium: apt-get install chromium");
    shop = await RunningShop.start([], { SHOP_PAYMENT_SEED: "34" }); // after the three first orders, this one is unlucky again
    url = (await shop.printed(/The shop is open: (\S+)/))[1] ?? "";
    await shop.printed(/Ctrl\+C closes the shop/);
    browser = await chromium.launch({ executablePath, args: ARGS.split(" ") });
  });

  afterAll(async () => {
    await browser?.close();
    await shop?.[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    complaints = [];
    page = await browser.newPage();
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("request", (request) => request.url().startsWith(url) || complaints.push(`asks elsewhere: ${request.url()}`));
    await page.goto(url);
    await page.getByText("Live", { exact: true }).waitFor();
    await page.getByRole("button", { name: /Order for \d/ }).waitFor(); // the products are there
    // Every state that a task is shown in, also those that are gone before a test could look.
    await page.evaluate(() => {
      const seen: string[] = [];
      Object.assign(globalThis, { seen });
      const note = () => {
        for (const row of document.querySelectorAll("#tasks li"))
          seen.push(`${row.querySelector(".title")?.textContent}: ${row.querySelector(".state")?.textContent}`);
      };
      new MutationObserver(note).observe(document.querySelector("#tasks") as Element, {
        subtree: true,
        childList: true,
        characterData: true,
      });
    });
  });

  afterEach(async () => {
    await page?.close();
    if (complaints.length > 0) throw new Error(`the page complains: ${complaints.join("; ")}`);
  });

  const task = (title: string) => page.locator("#tasks li").filter({ hasText: title }).first();
  const states = () => page.evaluate(() => [...new Set((globalThis as unknown as { seen: string[] }).seen)]);

  async function order(product: RegExp, quantity: string, customer: string): Promise<void> {
    const choice = page.getByLabel("Product");
    await choice.selectOption((await choice.locator("option").filter({ hasText: product }).textContent()) ?? "");
    await page.getByLabel("Quantity").fill(quantity);
    await page.getByLabel("Your name").fill(customer);
    await page.getByRole("button", { name: /Order for/ }).click();
  }

  async function upload(name: string, text: string | Buffer): Promise<void> {
    await page.getByLabel("CSV file").setInputFiles({ name, mimeType: "text/csv", buffer: Buffer.from(text as string) });
    await page.getByRole("button", { name: "Upload" }).click();
  }

  test("shows what was done before it was opened", async () => {
    await page.getByRole("heading", { name: "Report on seattle-weather.csv" }).waitFor();
    await page.locator("#orders li").filter({ hasText: "Grace" }).filter({ hasText: "paid" }).waitFor();
    expect(await page.locator("#orders li").count()).toBe(3);
  });

  test("an order placed by keyboard is paid in spite of the payment service", async () => {
    await page.getByLabel("Product").focus();
    await page.keyboard.type("Herb"); // chooses by the first letters
    await page.keyboard.press("Tab");
    await page.keyboard.type("3");
    await page.keyboard.press("Tab");
    await page.keyboard.type("Katherine");
    await page.getByRole("button", { name: "Order for 26.85" }).waitFor();
    await page.keyboard.press("Enter");

    const row = task("Payment of 26.85 by Katherine");
    await row.filter({ hasText: "Done" }).waitFor({ timeout: 60_000 });
    expect(await row.textContent()).toMatch(/attempt [2-9]/);
    expect(await row.textContent()).toContain("payments@");
    expect(await states()).toContain("Payment of 26.85 by Katherine: Trying again");
    await page
      .locator("#orders li")
      .filter({ hasText: "Katherine" })
      .filter({ hasText: /paid, receipt [0-9A-F]{8}, after \d attempts/ })
      .waitFor();
  });

  test("a declined card is not tried again", async () => {
    await order(/Raised bed/, "5", "Dorothy");
    const row = task("Payment of 945.00 by Dorothy");
    await row.filter({ hasText: "Failed" }).waitFor({ timeout: 60_000 });
    expect(await row.textContent()).toContain("The card's limit is 500.00.");
    await page.locator("#orders li").filter({ hasText: "Dorothy" }).filter({ hasText: "not paid: The card's limit is 500.00." }).waitFor();
  });

  test("a file becomes a report, with progress on the way and a chart at the end", async () => {
    let cents = 0;
    const lines = Array.from({ length: 200_000 }, (_, row) => {
      const amount = (row * 7919) % 100_003;
      cents += amount;
      return `20${String(10 + (row % 3)).padStart(2, "0")}-0${1 + (Math.floor(row / 3) % 9)}-15,"Shelf ${row % 4}, left",${(amount / 100).toFixed(2)}`;
    });
    await upload("Measured & <b>weighed</b>.csv", ["day,place,amount", ...lines, "never,nowhere,1"].join("\r\n"));

    await page.getByRole("heading", { name: "Report on Measured & <b>weighed</b>.csv" }).waitFor({ timeout: 60_000 });
    expect((await states()).filter((state) => /^Report on Measured.*: Running, \d+ %$/.test(state)).length).toBeGreaterThan(1);

    const report = page.locator("#report");
    expect(await report.locator(".figures").textContent()).toContain((cents / 100).toLocaleString("en", { minimumFractionDigits: 2 }));
    expect(await report.locator(".categories tbody tr").count()).toBe(4);
    expect(await report.locator(".months tbody tr").count()).toBe(27);
    await report.getByText("Rows left out (1)").click();
    await report.getByText("Line 200002: not a date: never").waitFor();

    const chart = report.getByRole("img");
    await chart.evaluate((image: HTMLImageElement) => image.decode());
    expect(await chart.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0);
    expect(await chart.getAttribute("alt")).toMatch(/^Bar chart of amount over time/);
  });

  test("a file that is no table is refused with the reason", async () => {
    await upload("holiday.csv", "The sea was calm.\nWe swam.\n");
    const row = task("Report on holiday.csv");
    await row.filter({ hasText: "Failed" }).waitFor({ timeout: 60_000 });
    expect(await row.textContent()).toContain("No column holds dates such as 2012-01-31.");
  });

  test("what people type is shown as they typed it", async () => {
    const name = `<img src=x onerror="document.title='owned'">`;
    await order(/seeds/, "1", name);
    await page.locator("#orders li").filter({ hasText: name }).waitFor();
    expect(await page.title()).toBe("Lovage shop");
  });

  test("fits a phone, and every text stands out from its background", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.getByRole("heading", { name: /Report on/ }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    expect(await page.evaluate(faintTexts)).toEqual([]);
  });
});

/** Texts whose contrast is below 4.5 to 1 (WCAG 2.2, 1.4.3). Runs in the page. */
function faintTexts(): string[] {
  const channels = (colour: string) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (colour: string) => {
    const [red = 0, green = 0, blue = 0] = channels(colour).map((value) =>
      value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const background = (element: Element | null): string => {
    if (!element) return "rgb(255, 255, 255)";
    const colour = getComputedStyle(element).backgroundColor;
    return channels(colour)[3] === 0 ? background(element.parentElement) : colour;
  };
  const faint: string[] = [];
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes]
      .filter((node) => node.nodeType === Node.TEXT_NODE)
      .map((node) => node.textContent?.trim())
      .join("");
    if (!text || element.closest("[hidden], template, noscript")) continue;
    const [light = 0, dark = 0] = [luminance(getComputedStyle(element).color), luminance(background(element))].toSorted((a, b) => b - a);
    if ((light + 0.05) / (dark + 0.05) < 4.5) faint.push(text);
  }
  return faint;
}
