import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { init, shutdown } from "@switchyard/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openChromium } from "./chromium.ts";
import { buildSite, fillSite, isolation, leastPolicy, serve, type Serving } from "./site.ts";
import type {} from "./site/conformance.ts";
import type { Trained } from "./site/train.ts";
import { trained } from "./site/mixture.ts";

/** What the example's page looked like, for the curious. */
const screenshot = join(import.meta.dirname, "site/dist/livePage.png");

let browser: Browser | undefined;
let nodeModules: readonly string[];
let inNode: readonly number[];

beforeAll(async () => {
  fillSite();
  nodeModules = await buildSite();
  browser = await openChromium();
  await init("wasm");
  inNode = await trained();
  await shutdown();
}, 120_000);

afterAll(() => browser?.close());

/** Opens a page of the site, gives it to `use`, and fails if it reported an error. */
async function onPage<T>(path: string, serving: Serving, use: (page: Page) => Promise<T>): Promise<T> {
  const served = await serve(serving);
  const context = await browser!.newContext();
  try {
    const page = await context.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(served.url + path, { waitUntil: "networkidle" });
    const result = await use(page);
    expect(errors).toEqual([]);
    return result;
  } finally {
    await context.close();
    await served.close();
  }
}

const train = (page: Page, device: "wasm" | "webgpu"): Promise<Trained> =>
  page.evaluate((name) => globalThis.page.train(name), device);
const detailsOf = (page: Page, device: "wasm" | "webgpu") =>
  page.evaluate(async (name) => (await globalThis.page.devices()).find((d) => d.name === name)?.details, device);

test("no module of Node reaches the bundle", () => {
  expect(nodeModules).toEqual([]);
});

const servings: readonly (readonly [string, Serving])[] = [
  ["Vite's dev server", { from: "dev" }],
  ["Vite's dev server, isolated", { from: "dev", headers: isolation }],
  ["Vite's build", { from: "build" }],
  ["Vite's build, isolated", { from: "build", headers: isolation }],
  ["Vite's build under the least content-security policy", { from: "build", headers: leastPolicy }],
];

describe.each(servings)("a page from %s", (_, serving) => {
  const isIsolated = serving.headers === isolation;

  test("trains a mixture on wasm to the bits that Node computes, with threads if it is isolated", async () => {
    await onPage("", serving, async (page) => {
      expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(isIsolated);
      expect((await train(page, "wasm")).losses).toEqual(inNode);
      const cores = await page.evaluate(() => navigator.hardwareConcurrency);
      expect((await detailsOf(page, "wasm"))!.threads).toBe(isIsolated ? cores : 1);
    });
  });

  test("trains it on webgpu to the same losses within 1e-3", async () => {
    await onPage("", serving, async (page) => {
      const { device, losses } = await train(page, "webgpu");
      expect(device).toBe("webgpu");
      losses.forEach((loss, step) => expect(Math.abs(loss / inNode[step] - 1), `step ${step}`).toBeLessThan(1e-3));
      expect((await detailsOf(page, "webgpu"))!.adapter).toMatch(/swiftshader/);
    });
  });
});

test("the example's page trains on webgpu, draws a bar for each expert, and stops when it is told to", async () => {
  await onPage("example/livePage.html", { from: "build" }, async (page) => {
    await page.waitForFunction(() => document.title.startsWith("10: "), undefined, { timeout: 120_000 });
    expect(await page.textContent("#device")).toBe("webgpu");
    await page.screenshot({ path: screenshot });
    const bars = await page.evaluate(() => {
      const canvas = document.querySelector("canvas")!;
      const { data } = canvas.getContext("2d")!.getImageData(0, canvas.height - 1, canvas.width, 1);
      return Array.from({ length: 32 }, (_, e) => data[(e * 10 + 4) * 4 + 3] > 0);
    });
    expect(bars.filter(Boolean).length).toBeGreaterThan(16);
    await page.click("#stop");
    await page.waitForTimeout(3000);
    const title = await page.title();
    await page.waitForTimeout(3000);
    expect(await page.title()).toBe(title);
  });
});

test.each(["wasm", "webgpu"] as const)(
  "every primitive and scalar op passes conformance on %s in a page",
  async (device) => {
    const runs = process.env.SWITCHYARD_DEEP ? 60 : 10;
    const { passed, failures } = await onPage("conformance.html", { from: "build", headers: isolation }, (page) =>
      page.evaluate(([name, count]) => globalThis.conformancePage.conformance(name, count), [device, runs] as const),
    );
    expect(failures).toEqual([]);
    expect(passed).toBeGreaterThan(60);
  },
);
