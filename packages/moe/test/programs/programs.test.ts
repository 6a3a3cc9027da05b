import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { init, tensor } from "@switchyard/tensor";
import { adamw, warmupCosine } from "@switchyard/autograd";
import { randomBatches, train } from "@switchyard/moe";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { livePage } from "./livePage.ts";
import { model, vocab } from "./lstmMoe.ts";

let dir: string;
beforeAll(async () => {
  await init("cpu");
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
});
afterAll(() => rm(dir, { recursive: true }));

const ids = Int32Array.from({ length: 200 }, (_, i) => (i * 7) % vocab);
const options = () => ({
  model,
  data: randomBatches(ids, { batch: 2, context: 4 }, 0),
  steps: 5,
  seed: 7,
  optimizer: adamw({
    learningRate: warmupCosine({ peak: 3e-3, warmup: 2, steps: 5 }),
    weightDecay: 0.1,
    each: (path, t) => (t.ndim < 2 || path.includes("router") ? { weightDecay: 0 } : undefined),
  }),
});

test("an LSTM with a mixture trains, and goes on after it was killed as if it had not been", async () => {
  const losses: number[] = [];
  for await (const { loss } of train(options())) losses.push(loss);
  expect(losses.at(-1)).toBeLessThan(losses[0]);

  const checkpoint = { dir: join(dir, "a"), every: 2 };
  for await (const { step } of train({ ...options(), checkpoint })) if (step === 2) break; // as kill -9 would
  const { step, loss } = await train({ ...options(), checkpoint, resume: true }).finish();
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
  const text = (step: number) => {
    if (step === 1) page.click();
    const row = Int32Array.from({ length: 8 }, (_, i) => i);
    return { tokens: tensor(row, { shape: [2, 4] }), targets: tensor(row, { shape: [2, 4] }) };
  };
  await livePage(text).finally(() => vi.unstubAllGlobals());
  expect(page.textContent).toBe("wasm");
  expect(bars.length).toBe(32);
  expect(page.title).toMatch(/^0: \d\.\d{3}, cv \d\.\d\d$/);
});
