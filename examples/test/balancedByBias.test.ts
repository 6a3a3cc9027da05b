import { init, random } from "@switchyard/tensor";
import { loadMetrics, train } from "@switchyard/moe";
import { beforeAll, expect, test } from "vitest";
import { model, optimizer, patterns } from "../balancedByBias.ts";

beforeAll(() => init("wasm"));

test("a mixture in a model of one's own learns, and its bias, which no gradient moves, evens out the load", async () => {
  const steps = 60;
  const cvs: number[] = [];
  let [first, last] = [NaN, NaN];
  const run = train({ model, data: patterns, optimizer, steps, seed: 1 });
  for await (const { step, loss, aux, params } of run) {
    if (step === 0) first = loss;
    last = loss;
    cvs.push(await loadMetrics(aux.routing.counts).cv.item());
    if (step !== steps - 1) continue;
    const { bias } = params.mixture.router;
    // Moved by updateBias alone: whole steps of its speed.
    for (const b of await bias.data()) expect(Math.abs(b * 100 - Math.round(b * 100))).toBeLessThan(1e-3);
    expect(await bias.abs().max().item()).toBeGreaterThan(0.05);
  }
  expect(last).toBeLessThan(first / 2);
  const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  expect(mean(cvs.slice(-10))).toBeLessThan(0.7 * mean(cvs.slice(0, 10)));
  const plain = model.init(random.key(1));
  expect(await plain.mixture.router.bias.abs().max().item()).toBe(0);
});
