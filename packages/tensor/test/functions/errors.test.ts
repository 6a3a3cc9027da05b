import { beforeAll, expect, test } from "vitest";
import * as sw from "@switchyard/tensor";
import { DTypeError, init, ShapeError, tensor, zeros } from "@switchyard/tensor";

beforeAll(() => init("cpu"));

const i32 = (...shape: number[]) => zeros(shape, { dtype: "i32" });
const f32 = (...shape: number[]) => zeros(shape);
const f64 = (...shape: number[]) => zeros(shape, { dtype: "f64" });
const bool = (...shape: number[]) => zeros(shape, { dtype: "bool" });

/** The op that must be named, the kind of error, what else its message must say, and what is done. */
type Mistake = readonly [op: string, kind: typeof ShapeError | typeof DTypeError, says: string, act: () => unknown];

const mistakes: readonly Mistake[] = [
  // Functions of floats take no integers, and say how to cast.
  ...(["exp", "log", "sqrt", "sin", "tanh", "sigmoid", "softplus", "erf", "floor", "isNaN"] as const).map(
    (op) => [op, DTypeError, "floating-point", () => i32(2)[op]()] as const,
  ),
  ...(["mean", "variance", "std", "norm", "logSumExp", "softmax", "logSoftmax", "layerNorm", "rmsNorm"] as const).map(
    (op) => [op === "std" ? "variance" : op, DTypeError, ".cast(", () => i32(2)[op]()] as const,
  ),
  ["div", DTypeError, ".cast(", () => i32(2).div(2)],
  ["pow", DTypeError, ".cast(", () => i32(2).pow(0.5)],
  ["crossEntropy", DTypeError, ".cast(", () => sw.crossEntropy(i32(2, 3), [0, 1])],
  ["attention", DTypeError, ".cast(", () => sw.attention(i32(2, 3), i32(2, 3), i32(2, 3))],
  ["add", DTypeError, "dtypes differ", () => f32(2).add(f64(2))],
  ["add", DTypeError, "0.5 is not a value of i32", () => i32(2).add(0.5)],
  ["add", DTypeError, "cast the bool", () => bool(2).add(1)],
  ["add", DTypeError, "takes tensors and numbers", () => f32(2).add("1" as never)],
  ["add", DTypeError, "at least one tensor", () => sw.add(1, 2)],
  ["where", DTypeError, "must be bool", () => sw.where(f32(2), 1, 2)],
  ["and", DTypeError, "bool or integer", () => f32(2).and(f32(2))],
  ["sum", DTypeError, "cast first", () => bool(2).sum()],
  ["cumsum", DTypeError, "cast first", () => bool(2).cumsum()],
  ["argMax", DTypeError, "cast first", () => bool(2).argMax()],
  ["argsort", DTypeError, "cast first", () => bool(2).argsort()],
  ["matmul", DTypeError, "dtypes differ", () => f32(2, 2).matmul(f64(2, 2))],
  ["gather", DTypeError, "indices must be i32", () => f32(2).gather(f32(1))],
  ["crossEntropy", DTypeError, "i32 classes", () => sw.crossEntropy(f32(2, 3), zeros([2], { dtype: "u32" }))],

  // Shapes and axes.
  ["add", ShapeError, "do not broadcast: 2 meets 3 on axis -1", () => f32(2).add(f32(3))],
  ["sum", ShapeError, "axis 2 is out of range; axes of a 2-dimensional tensor are -2..1", () => f32(2, 3).sum(2)],
  ["mean", ShapeError, "axis -3", () => f32(2, 3).mean(-3)],
  ["sum", ShapeError, "name one axis twice", () => f32(2, 3).sum([0, -2])],
  ["softmax", ShapeError, "axis 1", () => f32(2).softmax(1)],
  ["layerNorm", ShapeError, "axis 1", () => f32(2).layerNorm(null, null, { axis: 1 })],
  ["layerNorm", ShapeError, "weight must be [3]", () => f32(2, 3).layerNorm(f32(2))],
  ["rmsNorm", ShapeError, "bias must be [3]", () => f32(2, 3).rmsNorm(null, f32(1, 3))],
  ["max", ShapeError, "an empty axis has no max", () => f32(2, 0).max(1)],
  ["argMin", ShapeError, "an empty axis", () => f32(0).argMin()],
  ["argMax", ShapeError, "a scalar has no axes", () => f32().argMax()],
  ["cumprod", ShapeError, "axis 1", () => f32(2).cumprod(1)],
  ["argsort", ShapeError, "axis 1", () => f32(2).sort(1)],
  ["topK", ShapeError, "k must be an integer from 0 to the axis length 3, got 4", () => f32(2, 3).topK(4)],
  ["topK", ShapeError, "got -1", () => f32(2, 3).topK(-1)],
  ["topK", ShapeError, "got 1.5", () => f32(2, 3).topK(1.5)],
  ["matmul", ShapeError, "lhs has 3 columns but rhs has 2 rows", () => f32(2, 3).matmul(f32(2, 3))],
  ["matmul", ShapeError, "use mul", () => f32().matmul(f32(2))],
  ["dot", ShapeError, "use matmul", () => f32(2, 2).dot(f32(2))],
  [
    "groupedMatmul",
    ShapeError,
    "rhs has 2 matrices but offsets describe 3 groups",
    () => f32(4, 3).groupedMatmul(f32(2, 3, 5), i32(4)),
  ],
  ["reshape", ShapeError, "f32[2,3] has 6", () => f32(2, 3).reshape([4])],
  ["reshape", ShapeError, "cannot work out -1", () => f32(2, 3).reshape([4, -1])],
  ["permute", ShapeError, "not a permutation", () => f32(2, 3).permute([0, 0])],
  ["squeeze", ShapeError, "not 1", () => f32(2, 3).squeeze(0)],
  ["broadcastTo", ShapeError, "does not stretch", () => f32(2, 3).broadcastTo([3])],
  ["slice", ShapeError, "position 2 is outside axis 0", () => f32(2).slice(2)],
  ["slice", ShapeError, "non-zero", () => f32(2).slice([0, 2, 0])],
  ["slice", ShapeError, "2 ranges for the 1 axes", () => f32(2).slice([], [])],
  ["pad", ShapeError, "1 widths for the 2 axes", () => f32(2, 3).pad([[0, 1]])],
  ["concat", ShapeError, "agree but for axis 0", () => sw.concat([f32(2, 3), f32(2, 4)])],
  ["concat", ShapeError, "at least one tensor", () => sw.concat([])],
  ["stack", ShapeError, "at least one tensor", () => sw.stack([])],
  ["split", ShapeError, "does not divide", () => f32(5).split(2)],
  ["split", ShapeError, "add up to 4", () => f32(5).split([2, 2])],
  ["gather", ShapeError, "axis 1", () => f32(2).gather([0], 1)],
  ["scatter", ShapeError, "updates must be [2,3]", () => sw.scatter(f32(3, 3), [0, 1], [4, 3])],
  ["segmentSum", ShapeError, "one segment for each row", () => f32(3).segmentSum([0, 1], 2)],
  ["segmentMax", ShapeError, "one segment for each row", () => f32().segmentMax([0], 2)],
  ["searchSorted", ShapeError, "a vector", () => f32(2, 2).searchSorted(f32(1))],
  ["tril", ShapeError, "takes matrices", () => f32(2).tril()],
  ["crossEntropy", ShapeError, "an axis of classes", () => sw.crossEntropy(f32(), [0])],
  ["crossEntropy", ShapeError, "classes must be i32[2]", () => sw.crossEntropy(f32(2, 3), [0, 1, 2])],
  ["crossEntropy", ShapeError, "shape of the logits", () => sw.crossEntropy(f32(2, 3), f32(2))],
  ["crossEntropy", ShapeError, "mask must be bool[2]", () => sw.crossEntropy(f32(2, 3), [0, 1], { mask: f32(2) })],
  ["term", ShapeError, "names a scalar term", () => sw.term("balance", f32(2))],
  ["tensor", ShapeError, "rectangular", () => tensor([[1], [1, 2]])],
  ["tensor", DTypeError, "mixed", () => tensor([1, true])],
  ["full", ShapeError, "non-negative integers", () => zeros([-1])],
];

test.each(mistakes.map(([op, kind, says, act]) => ({ op, kind, says, act, name: kind.name })))(
  "$op throws a $name: $says",
  ({ op, kind, says, act }) => {
    expect(act).toThrow(kind);
    expect(act).toThrow(says);
    expect(act).toThrow(new RegExp(`^${op}: `));
  },
);

test("arithmetic with a JavaScript operator names the method", () => {
  expect(() => (f32(2) as unknown as number) + 1).toThrow(".add(x)");
});
