import { graphOf, init, scope, tensor, type Tensor } from "@switchyard/tensor";
import { grad } from "@switchyard/autograd";
import { expect, test } from "vitest";

await init("cpu");

test("what a gradient rule wrote says which, of which operation, and from where", () => {
  const graph = graphOf(grad((x: Tensor) => scope("layer", () => x.sin()).sum())(tensor([1])));
  expect(String(graph)).toMatch(/= cos %\d+ f32\[1\] {2}\/\/ gradient of sin, layer/);
  expect(graph.toDot()).toMatch(/\[label="cos f32\[1\]", tooltip="gradient of sin, layer", style=dashed\];/);
});
