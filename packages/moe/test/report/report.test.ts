import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigError, init, ones, tensor, type Key, type Tensor } from "@switchyard/tensor";
import { sgd } from "@switchyard/autograd";
import { randomBatches, report, train, transformer, type CloseLook, type Precision } from "@switchyard/moe";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { profileFigure } from "../../src/report/figures.ts";
import type { RunConfig } from "../../src/training/runDirectory.ts";
import { samplesLog } from "../../src/training/runLog.ts";
import { startBrowser } from "./chromium.ts";

let dir: string;
let runs: string[];
let browser: Browser;

const ids = Int32Array.from({ length: 300 }, (_, i) => (i * i) % 11);
const model = transformer({ vocab: 11, dim: 8, layers: 2, heads: 2, hidden: 8, context: 6, moe: { experts: 4, k: 2 } });

const look: CloseLook = {
  entropies: { unigram: 2.3, bigram: 2.1 },
  passage: {
    tokens: Array.from("a<b>&c"),
    layers: [
      [0, 1, 2, 3, 0, 1],
      [3, 3, 3, 3, 3, 3],
    ],
  },
  experts: 4,
  router: [
    { layer: 0, term: "task", norm: 1, share: 1.2 },
    { layer: 0, term: "load", norm: 0.2, share: -0.2 },
  ],
  kernels: [{ name: "matmul", calls: 3, ms: 2, bytes: 1, flops: 5e6 }],
  device: "wasm",
  diagnosis: [
    {
      ailment: "dead experts",
      layer: 1,
      severity: "warning",
      says: "2 of 4 experts get nothing",
      remedy: "add a loss",
    },
  ],
};

beforeAll(async () => {
  await init("cpu");
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
  runs = [join(dir, "first"), join(dir, "second")];
  for (const [seed, run] of runs.entries()) {
    const data = randomBatches(ids, { batch: 2, context: 6 }, seed);
    const optimizer = sgd({ learningRate: 0.1 });
    const checkpoint = { dir: run, every: 10 };
    await train({
      model,
      data,
      optimizer,
      steps: 8,
      seed,
      clip: 1,
      evaluate: { data, batches: 1, every: 2 },
      checkpoint,
    }).finish();
    await samplesLog.note(run, { step: 8, prompt: "<i>", text: "</script><b>" });
  }
  browser = await startBrowser();
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await rm(dir, { recursive: true });
});

/** Opens a report from the disk, with nothing to reach. */
async function open(html: string, context: BrowserContextOptions = {}) {
  const file = join(dir, "report.html");
  await writeFile(file, html);
  const page = await (await browser.newContext({ offline: true, ...context })).newPage();
  const trouble: string[] = [];
  page.on("console", (message) => trouble.push(message.text()));
  page.on("pageerror", (error) => trouble.push(error.message));
  page.on("request", (request) => request.url() !== pathToFileURL(file).href && trouble.push(request.url()));
  await page.goto(pathToFileURL(file).href);
  return { page, trouble };
}

const background = (page: Page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const captions = (page: Page) => page.locator("figcaption").allTextContents();

describe("a report", () => {
  test("opens from the disk with no network, and every figure is drawn", async () => {
    const { page, trouble } = await open(await report(runs[0], { looks: new Map([[runs[0], look]]) }));
    const sizes = await page
      .locator("figure svg")
      .evaluateAll((drawn) => drawn.map((svg) => svg.getBoundingClientRect()));
    expect(sizes.length).toBe(10);
    for (const { width, height } of sizes) expect(Math.min(width, height)).toBeGreaterThan(80);
    const marks = await page
      .locator("figure svg")
      .evaluateAll((drawn) => drawn.map((svg) => svg.querySelectorAll("path, rect, circle").length));
    expect(Math.min(...marks)).toBeGreaterThan(0);
    expect((await captions(page)).map((text) => text.match(/^Figure \d+\./)![0])).toEqual(
      sizes.map((_, i) => `Figure ${i + 1}.`),
    );
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  test("is of a run as well as of its directory, and finishes it first", async () => {
    const data = randomBatches(ids, { batch: 2, context: 6 }, 5);
    const options = { model, data, optimizer: sgd({ learningRate: 0.1 }), steps: 2 };
    const third = join(dir, "third");
    const page = await report(train({ ...options, checkpoint: { dir: third, every: 2 } }));
    expect(page).toBe(await report(third));
    await expect(report(train(options))).rejects.toThrow("report: needs the directory of a run");
  });

  test("a curve goes through the points of the log", async () => {
    const { page } = await open(await report(runs[0]));
    const path = await page
      .locator("figure")
      .filter({ hasText: "Learning rate." })
      .locator("path[stroke^='var']")
      .getAttribute("d");
    expect(path!.split("L").length).toBe(8); // a point for each step
    await page.context().close();
  });

  test("shows the passage of the layer that is chosen, in a colour for each expert", async () => {
    const { page } = await open(await report(runs[0], { looks: new Map([[runs[0], look]]) }));
    const shown = page.locator(".passage:visible");
    expect(await shown.textContent()).toBe("a<b>&c");
    const colors = () =>
      shown.locator("span").evaluateAll((spans) => spans.map((s) => getComputedStyle(s).backgroundColor));
    expect(new Set(await colors()).size).toBe(4);
    await page.locator(".controls label").nth(1).click();
    expect(await shown.count()).toBe(1);
    expect(new Set(await colors()).size).toBe(1);
    await page.context().close();
  });

  test("follows the reader's light or dark", async () => {
    const html = await report(runs[0]);
    const [light, dark] = await Promise.all(
      (["light", "dark"] as const).map(async (colorScheme) => {
        const { page } = await open(html, { colorScheme });
        return background(page);
      }),
    );
    expect([light, dark]).toEqual(["rgb(253, 253, 251)", "rgb(20, 22, 26)"]);
  });

  test("fits a telephone", async () => {
    const { page } = await open(await report(runs, { looks: new Map([[runs[0], look]]) }), {
      viewport: { width: 390, height: 800 },
    });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await page.context().close();
  });

  test("says what stands out, what is wrong first, and what to do", async () => {
    const { page } = await open(await report(runs[0], { looks: new Map([[runs[0], look]]) }));
    const found = page.locator("ul.findings li");
    expect(await found.first().getAttribute("class")).toBe("warns");
    expect(await found.allTextContents()).toContain("dead experts in layer 1: 2 of 4 experts get nothing. Add a loss.");
    await page.context().close();
  });

  test("lays several runs over each other, with a table side by side", async () => {
    const { page, trouble } = await open(await report(runs));
    expect(await page.locator("h1").textContent()).toBe("Runs first, second");
    const heads = await page.locator("table").first().locator("tr").first().locator("th").allTextContents();
    expect(heads).toEqual(["", "first", "second"]);
    const loss = page.locator("figure").first();
    expect(await loss.locator(".legend span").allTextContents()).toEqual(["first", "second"]);
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  test("of a run in f16 shows the scale of the loss, halved where a step was skipped, and of another none", async () => {
    const half = join(dir, "half");
    const slope = {
      init: (_key: Key) => ({ w: ones([]) }),
      loss: (p: { w: Tensor }, x: Tensor) => ({ loss: p.w.mul(x.cast(p.w.dtype)).cast("f32") }),
    };
    await train({
      model: slope,
      data: (step) => tensor(step === 2 ? 2 : 1),
      optimizer: sgd({ learningRate: 0.1 }),
      steps: 6,
      precision: "f16",
      checkpoint: { dir: half, every: 6 },
    }).finish();
    const { page, trouble } = await open(await report(half));
    const drawn = page.locator("figure").filter({ hasText: "Scale of the loss" });
    const path = await drawn.locator("path[stroke^='var']").getAttribute("d");
    const heights = [...path!.matchAll(/[ML][\d.]+,([\d.]+)/g)].map((point) => Number(point[1]));
    expect(heights.map((y) => y === Math.min(...heights))).toEqual([true, true, false, false, false, false]);
    expect(trouble).toEqual([]);
    await page.context().close();
    expect(await report(runs[0])).not.toContain("Scale of the loss");
  });

  test("says of a profiled step that it was one in f32, where the run was trained in f16", () => {
    const captionOf = (precision: Precision) =>
      profileFigure({ name: "run", metrics: [], samples: [], look, config: { precision } as RunConfig })?.caption;
    expect(captionOf("f16")).toContain("of a profiled step in f32 go, on wasm");
    expect(captionOf("f32")).toContain("of a profiled step go, on wasm");
  });

  test("what models write is text, whatever it looks like", async () => {
    const { page, trouble } = await open(await report(runs[0]));
    expect(await page.locator("td.text").first().textContent()).toBe("<i></script><b>");
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  test("of what is no run is a ConfigError", async () => {
    await expect(report([dir])).rejects.toThrow(ConfigError);
    await expect(report([dir])).rejects.toThrow(/has no metrics\.jsonl with a step in it/);
  });
});
