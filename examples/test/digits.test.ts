import { init } from "@switchyard/tensor";
import { beforeAll, expect, test } from "vitest";
import { classify, digits } from "../digits.ts";

beforeAll(() => init("wasm"));

test("digits are told apart that were never seen, and every expert has a part in it", async () => {
  const reports = await Array.fromAsync(classify(100, 200));
  const { accuracy, counts } = reports.at(-1)!;
  expect(accuracy).toBeGreaterThan(0.85);
  expect(Math.min(...counts)).toBeGreaterThan(0);
});

test("the digits are those of the package: pixels from 0 to 1, all ten in both parts", async () => {
  for (const { x, label } of Object.values(await digits(50))) {
    expect(x.shape).toEqual([label.size, 784]);
    expect([await x.min().item(), await x.max().item()]).toEqual([0, 1]);
    expect(new Set(await label.data()).size).toBe(10);
  }
});
