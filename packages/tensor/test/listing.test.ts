import { graphOf, init, mark, scope, tensor, zeros } from "@switchyard/tensor";
import { expect, test } from "vitest";

await init("cpu");

test("a listing names each operation, its inputs, its shape and its scope, inputs first", () => {
  const x = tensor([[1, 2]]);
  const y = scope("layer", () => mark("h", x.mul(3)).sum(1));
  expect(String(graphOf(y)).split("\n")).toEqual([
    "%0 = buffer f32[1,2]",
    "%1 = full 3 f32[1,2]  // layer",
    "%2 = mul %0 %1 f32[1,2]  // layer",
    "%3 = mark h %2 f32[1,2]  // layer",
    "%4 = sum axes=[1] %3 f32[1]  // layer",
  ]);
});

test("a graph of several tensors holds what they share once", () => {
  const x = zeros([2]).exp();
  expect(graphOf({ a: x.neg(), b: [x.sin()] }).size).toBe(4);
});

test("a drawing has an edge for each input", () => {
  const x = tensor([1]);
  const dot = graphOf(x.add(x)).toDot();
  expect(dot.match(/0 -> 1;/g)).toHaveLength(2);
  expect(dot).toMatch(/^digraph tensors \{\n {2}node \[shape=box\];\n/);
});
