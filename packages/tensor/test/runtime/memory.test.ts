import { afterAll, beforeAll, expect, test } from "vitest";
import { init, memory, ones, realize, shutdown, tensor, zeros, type Tensor } from "../../src/index.ts";
import { provokeCollection } from "../../src/runtime/memory.ts";

beforeAll(() => init("wasm", { threads: 0 }));
afterAll(() => shutdown());

const mib = 2 ** 20;

test("a provoked collection frees the buffers of every forgotten handle", async () => {
  const before = memory().liveTensors;
  for (let i = 0; i < 100; i++) await realize(zeros([100]).add(i));
  await provokeCollection("wasm");
  expect(memory().liveTensors - before).toBeLessThanOrEqual(2);
});

test("ten thousand training steps with no donate and no dispose hold the memory", async () => {
  const [x, y] = [ones([8, 64]), ones([8, 16])];
  let w: Tensor = await realize(zeros([64, 16]));
  let peakAtFirst = 0;
  let rssAtFirst = 0;
  for (let step = 0; step < 10_000; step++) {
    const error = x.matmul(w).sub(y);
    w = w.sub(x.transpose().matmul(error).mul(0.001));
    await realize([w, error.square().mean()]);
    if (step === 2_000) [peakAtFirst, rssAtFirst] = [memory().peakBytes, process.memoryUsage.rss()];
  }
  expect(memory().peakBytes).toBeLessThan(peakAtFirst + 64 * mib);
  expect(process.memoryUsage.rss()).toBeLessThan(rssAtFirst + 128 * mib);
});

test("a model of many megabytes does too: what is forgotten is collected before it is five times the model", async () => {
  const size = 5 * mib;
  let w: Tensor = await realize(zeros([size]));
  for (let step = 0; step < 60; step++) {
    w = w.add(1);
    await realize(w);
  }
  expect(memory().peakBytes).toBeLessThan(600 * mib);
  expect((await w.slice([0, 1]).data())[0]).toBe(60);
});

test("a leaf made from an array costs its elements once", async () => {
  const before = memory().liveBytes;
  using x = tensor(new Float32Array(1000));
  expect(memory().liveBytes - before).toBe(4000);
  await realize(x);
  expect(memory().liveBytes - before).toBe(4000);
});
