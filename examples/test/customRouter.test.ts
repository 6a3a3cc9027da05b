import { init, random } from "@switchyard/tensor";
import { beforeAll, expect, test } from "vitest";
import { checkLayer, layer } from "../customRouter.ts";

beforeAll(() => init("cpu"));

test("a router and a loss of one's own take twenty lines, and their gradients are right", () => checkLayer());

test("a router of one's own serves a layer as any other, and its loss is below zero, as an entropy's negative is", async () => {
  const { losses, routing } = layer.apply(layer.init(random.key(0)), random.normal(random.key(1), [5, 4]));
  expect(await losses.entropy.item()).toBeLessThan(0);
  expect(routing.experts?.shape).toEqual([5, 2]);
});
