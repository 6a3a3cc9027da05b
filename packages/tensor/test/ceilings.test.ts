import { afterAll, expect, test } from "vitest";
import { ceilings, init, memory, setDefaultDevice, shareOfCeiling, shutdown, totalOf } from "../src/index.ts";

afterAll(() => shutdown());

test("ceilings are rates of the default device, and measuring them leaves nothing behind", async () => {
  await init("wasm", { threads: 1 });
  const { gflops, gigabytesPerSecond } = await ceilings();
  expect(gflops).toBeGreaterThan(0.1);
  expect(gigabytesPerSecond).toBeGreaterThan(0.1);
  expect(memory().liveTensors).toBe(0);
  setDefaultDevice("cpu");
  await expect(ceilings()).rejects.toThrow("ceilings: the cpu device counts neither operations nor bytes");
});

test("a share is of the nearer ceiling: of arithmetic or of memory", () => {
  const marks = { gflops: 100, gigabytesPerSecond: 10 };
  expect(shareOfCeiling({ ms: 1, bytes: 1e6, flops: 50e6 }, marks)).toBeCloseTo(0.5);
  expect(shareOfCeiling({ ms: 1, bytes: 8e6, flops: 50e6 }, marks)).toBeCloseTo(0.8);
  const [a, b] = [
    { ms: 1, bytes: 2, flops: 3 },
    { ms: 4, bytes: 5, flops: 6 },
  ];
  expect(totalOf([a, b])).toEqual({ ms: 5, bytes: 7, flops: 9 });
});
