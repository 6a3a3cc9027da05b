import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { run } from "@switchyard/moe/node";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { startBrowser } from "../report/chromium.ts";

const home = process.cwd();
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
  process.chdir(dir);
  await writeFile("text.txt", "It was the best of times, it was the worst of times. ".repeat(12));
  const sizes = ["--dim", "8", "--heads", "2", "--layers", "2", "--hidden", "8", "--experts", "3", "--context", "8"];
  const outcome = await switchyard("train", "--data", "text.txt", ...sizes, "--batch", "2", "--steps", "4", "--json");
  expect(outcome.code).toBe(0);
});
afterAll(async () => {
  process.chdir(home);
  await rm(dir, { recursive: true });
});

async function switchyard(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation((chunk) => ((out += String(chunk)), true)),
    vi.spyOn(console, "log").mockImplementation((line: unknown) => void (out += `${String(line)}\n`)),
    vi.spyOn(process.stderr, "write").mockImplementation((chunk) => ((err += String(chunk)), true)),
  ];
  const code = await run([args[0], "--device", "cpu", ...args.slice(1)]);
  for (const spy of spies) spy.mockRestore();
  return { code, out, err };
}

describe("switchyard explain", () => {
  test("tells on the terminal what moves a parameter, by term, path and expert, in shares that add up", async () => {
    const { code, out, err } = await switchyard("explain", "--param", "layers.0.moe.router.gate", "--batch", "2");
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^layers\.0\.moe\.router\.gate f32\[8,3\]: norm \d/);
    expect(out).toMatch(/untagged loss, in layers\.0\/moe\/router, by combine +\d/);
    expect(out).toMatch(/layers\.0\/moe\/router: what moves its logits, by 16 tokens/);
    expect(out).toMatch(/importance +later layers/);
    const gate = out.slice(out.indexOf("and its gate")).split("\n").slice(2);
    const shares = gate
      .flatMap((line) => Number(/(-?\d+\.\d)%$/.exec(line)?.[1] ?? NaN))
      .filter((x) => !Number.isNaN(x));
    expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(100, 0);
  });

  test("writes the ledger as JSON, of the same batch for the same seed", async () => {
    const losses: number[] = [];
    for (const seed of ["0", "0", "1"]) {
      const { out } = await switchyard("explain", "--run", "runs/1", "--seed", seed, "--json");
      const { param, page, ledger } = JSON.parse(out) as { param: string; page: string; ledger: { loss: number } };
      expect([param, page]).toEqual(["layers.1.moe.router.gate", expect.stringMatching(/runs.1.explain\.html$/)]);
      losses.push(ledger.loss);
    }
    expect(losses[1]).toBe(losses[0]);
    expect(losses[2]).not.toBe(losses[0]);
  });

  test("names the closest path to one that is not there", async () => {
    const { code, err } = await switchyard("explain", "--param", "layers.0.moe.router.gat");
    expect(code).toBe(1);
    expect(err).toBe(
      'switchyard: ledger: nothing is at "layers.0.moe.router.gat"; did you mean "layers.0.moe.router.gate"?\n',
    );
  });
});

describe("the page", () => {
  let browser: Browser;
  let file: string;
  beforeAll(async () => {
    file = join(dir, "page.html");
    expect((await switchyard("explain", "--html", file)).code).toBe(0);
    browser = await startBrowser();
  }, 60_000);
  afterAll(() => browser.close());

  test.each(["light", "dark"] as const)(
    "shows bars, graph, heatmap and cancellations (%s), with no network and no error",
    async (colorScheme) => {
      const page = await browser.newPage({ colorScheme, viewport: { width: 1280, height: 900 } });
      const problems: string[] = [];
      page.on("pageerror", (error) => problems.push(error.message));
      page.on("request", (request) => request.url().startsWith("file:") || problems.push(request.url()));
      await page.goto(pathToFileURL(file).href);
      const headings = await page.locator("h2").allTextContents();
      expect(headings.slice(0, 3)).toEqual(["Whose gradient it is", "Where parts cancel", "How it flows"]);
      expect(await page.locator(".graph .node.parameter").count()).toBe(2);
      expect(
        await page.locator(".heatmap .layer:visible rect.up, .heatmap .layer:visible rect.down").count(),
      ).toBeGreaterThan(0);
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      expect(ground).toBe(colorScheme === "light" ? "rgb(246, 247, 249)" : "rgb(18, 22, 29)");
      expect(problems).toEqual([]);
      await page.close();
    },
  );

  test("lights the paths of a parameter that is clicked, and of no other; a second click puts them out", async () => {
    const page = await browser.newPage();
    await page.goto(pathToFileURL(file).href);
    const lit = () => page.locator(".graph .lit").count();
    const parameters = page.locator(".graph .node.parameter");
    expect(await lit()).toBe(0);
    await parameters.first().click();
    expect(await page.locator(".graph .node.parameter.lit").count()).toBe(1);
    expect(await page.locator(".graph .node.loss.lit").count()).toBe(1);
    await parameters.first().click();
    expect(await lit()).toBe(0);
    await page.close();
  });

  test("changes what the heatmap shows", async () => {
    const page = await browser.newPage();
    await page.goto(pathToFileURL(file).href);
    await page.locator("[data-layer='1']").click();
    const pressed = await page.locator("[data-layer][aria-pressed=true]").getAttribute("data-layer");
    const visible = await page
      .locator(".heatmap .layer")
      .evaluateAll((all) => all.map((layer) => !(layer as HTMLElement).hidden));
    expect([pressed, visible.indexOf(true), visible.filter(Boolean).length]).toEqual(["1", 1, 1]);
    await page.close();
  });

  test("needs nothing else", async () => {
    expect(await readFile(file, "utf8")).not.toMatch(/<script src|<link|https?:\/\/(?!www\.w3\.org)/);
  });
});
