import { init } from "@switchyard/tensor";
import { matchers, type TensorMatchers } from "@switchyard/autograd/testing";
import { beforeAll, expect, test } from "vitest";
import { trainRegressor, type RegressorOptions } from "../regressor.ts";

declare module "vitest" {
  interface Matchers<R extends void | Promise<void> = void | Promise<void>, T = unknown> extends TensorMatchers {}
}

expect.extend(matchers);
beforeAll(() => init("wasm"));

const reportsOf = (options: RegressorOptions) => Array.fromAsync(trainRegressor(options));

test("a mixture trained by hand learns, keeps its experts in use, and holds its memory flat", async () => {
  const [first, second, ...later] = await reportsOf({ steps: 600, every: 50, tidy: true });
  const last = later.at(-1)!;
  expect(last.loss).toBeLessThan(first.loss / 3);
  const floor = Math.sqrt((1 - 2 / 16) * (16 / (2 * 256))); // of a fair draw: k = 2 of E = 16, 256 tokens
  expect(last.cv).toBeLessThan(1.5 * floor);
  expect(last.cv).toBeLessThan(second.cv);
  // What grows is two scalars a step, the loss and the CV, until they are collected.
  for (const { step, liveBytes } of later)
    expect(liveBytes - second.liveBytes).toBeLessThanOrEqual(8 * (step - second.step));
});

test("without donate, and without realizing the first parameters, the losses are the same and all memory comes back", async () => {
  const losses = (tidy: boolean) =>
    reportsOf({ steps: 100, every: 5, tidy }).then((reports) => reports.map((r) => r.loss));
  const tidy = await losses(true);
  let careless: number[] = [];
  await expect(async () => void (careless = await losses(false))).toHaveNoLeaks();
  expect(careless).toEqual(tidy);
});
