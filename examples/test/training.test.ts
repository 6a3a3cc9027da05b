import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { init, tensor } from "@switchyard/tensor";
import { adam } from "@switchyard/autograd";
import { loadMetrics, train } from "@switchyard/moe";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { livePage } from "../livePage.ts";
import { model } from "../lstmMoe.ts";
import { runOptions } from "../resume.ts";
import { batchesOf } from "../text.ts";

let dir: string;
beforeAll(async () => {
  await init("wasm");
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
});
afterAll(() => rm(dir, { recursive: true }));

const text = await batchesOf("ARCHITECTURE.md");

test("an LSTM with a mixture, put together by hand, learns a text and keeps its experts in use", async () => {
  const reports = [];
  for await (const { step, loss, aux } of train({
    model,
    data: text,
    optimizer: adam({ learningRate: 2e-3 }),
    steps: 25,
  }))
    if (step % 24 === 0) reports.push({ loss, dead: await loadMetrics(aux.routing.counts).deadFraction.item() });
  expect(reports[0].loss).toBeCloseTo(Math.log(96), 0);
  expect(reports.at(-1)!.loss).toBeLessThan(reports[0].loss - 1);
  expect(reports.at(-1)!.dead).toBe(0);
});

test("a run that was killed goes on as if it had not been", async () => {
  const losses: number[] = [];
  for await (const { loss } of train(runOptions(text, 5, join(dir, "whole"), 9))) losses.push(loss);
  const options = runOptions(text, 5, join(dir, "killed"), 2);
  for await (const { step } of train(options)) if (step === 2) break; // as kill -9 would
  const { step, loss } = await train({ ...options, resume: true }).finish();
  expect([step, loss]).toEqual([4, losses[4]]);
});

test("a page shows the device, draws a bar for each expert, and stops when it is told to", async () => {
  const bars: number[][] = [];
  const canvas = { clearRect: () => {}, fillRect: (...bar: number[]) => bars.push(bar) };
  const page = { textContent: "", click: () => {}, title: "" };
  vi.stubGlobal("document", {
    querySelector: () =>
      Object.assign(page, {
        addEventListener: (_: string, click: () => void) => void (page.click = click),
        getContext: () => canvas,
      }),
    set title(text: string) {
      page.title = text;
    },
  });
  const batch = (step: number) => {
    if (step === 1) page.click();
    const row = Int32Array.from({ length: 8 }, (_, i) => i);
    return { tokens: tensor(row, { shape: [2, 4] }), targets: tensor(row, { shape: [2, 4] }) };
  };
  await livePage(batch).finally(() => vi.unstubAllGlobals());
  expect(page.textContent).toBe("wasm");
  expect(bars.length).toBe(32);
  expect(page.title).toMatch(/^0: \d\.\d{3}, cv \d\.\d\d$/);
});
