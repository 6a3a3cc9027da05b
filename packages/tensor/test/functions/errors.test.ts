import { beforeAll, expect, test } from "vitest";
import * as sw from "@switchyard/tensor";
import {
  ConfigError,
  DeviceError,
  DisposedError,
  DTypeError,
  init,
  ShapeError,
  tensor,
  zeros,
} from "@switchyard/tensor";

beforeAll(() => init("cpu"));

const i32 = (...shape: number[]) => zeros(shape, { dtype: "i32" });
const f32 = (...shape: number[]) => zeros(shape);
const f64 = (...shape: number[]) => zeros(shape, { dtype: "f64" });
const bool = (...shape: number[]) => zeros(shape, { dtype: "bool" });

/** What no compiler has checked. */
const untyped = (x: unknown) => x as never;
const disposed = () => {
  const x = f32(2);
  x.dispose();
  return x;
};

/** The op that must be named, the kind of error, what else its message must say, and what is done. */
type Mistake = readonly [op: string, kind: new () => Error, says: string, act: () => unknown];

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
  ["tensor", DTypeError, "got a BigInt64Array", () => sw.tensor(untyped(new BigInt64Array(1)), { dtype: "f32" })],
  ["tensor", DTypeError, "Int16Array stands for no dtype", () => sw.tensor(new Int16Array(1))],
  ["tensor", DTypeError, "5 is among its elements", () => sw.tensor(Uint8Array.of(0, 5))],
  ["tensor", ConfigError, 'unknown option "dtpye"', () => sw.tensor([1], untyped({ dtpye: "i32" }))],
  ["zeros", ConfigError, 'unknown option "dtpye"', () => sw.zeros([2], untyped({ dtpye: "f32" }))],
  ["ones", ConfigError, "takes an object of options, got null", () => sw.ones([2], untyped(null))],
  ["full", ConfigError, "takes an object of options, got i32", () => sw.full([1], 0, untyped("i32"))],
  ["arange", ConfigError, 'unknown option "type"', () => sw.arange(0, 3, 1, untyped({ type: "f32" }))],
  ["linspace", ConfigError, 'unknown option "type"', () => sw.linspace(0, 3, 4, untyped({ type: "f32" }))],
  ["eye", ConfigError, "takes an object of options, got 3", () => sw.eye(2, untyped(3))],
  ["sin", DTypeError, "takes tensors, got 3", () => sw.sin(3 as never)],
  ["concat", DTypeError, "takes tensors, got 1", () => sw.concat([1, 2] as never)],
  ["where", DTypeError, "a bool tensor, got true", () => sw.where(true as never, 1, 2)],
  ["einsum", ShapeError, "the equation comes first", () => sw.einsum(f32(2) as never, f32(2))],
  ["where", DTypeError, "must be bool", () => sw.where(f32(2), 1, 2)],
  ["and", DTypeError, "bool or integer", () => f32(2).and(f32(2))],
  ["sum", DTypeError, "cast first", () => bool(2).sum()],
  ["cumsum", DTypeError, "cast first", () => bool(2).cumsum()],
  ["argMax", DTypeError, "cast first", () => bool(2).argMax()],
  ["argsort", DTypeError, "cast first", () => bool(2).argsort()],
  ["concat", DTypeError, "dtypes differ", () => sw.concat([f32(2), f64(2)])],
  ["concat", DTypeError, "dtypes differ", () => sw.stack([f32(2), f64(2)])],
  ["oneHot", DTypeError, "indices are integers (got 0.5", () => sw.oneHot([0.5], 2)],
  ["bincount", DTypeError, "indices are integers (got 0.5", () => sw.bincount([0.5], 2)],
  ["matmul", DTypeError, "dtypes differ", () => f32(2, 2).matmul(f64(2, 2))],
  ["gather", DTypeError, "indices must be i32", () => f32(2).gather(f32(1))],
  ["crossEntropy", DTypeError, "i32 classes", () => sw.crossEntropy(f32(2, 3), zeros([2], { dtype: "u32" }))],

  ["add", DTypeError, "got (null, f32[2] on cpu)", () => sw.add(untyped(null), untyped("f32[2] on cpu"))],
  ["add", DTypeError, "takes tensors and numbers, got null", () => sw.add(untyped(null), f32(2))],
  ["add", DTypeError, "takes tensors and numbers, got a function", () => f32(2).add(untyped(() => 3))],
  ["add", DTypeError, "got { axis }", () => f32(2).add(untyped(Object.assign(Object.create(null), { axis: 1 })))],
  ["concat", DTypeError, "takes tensors, got 3", () => sw.concat([f32(2), untyped(3)])],
  ["concat", DTypeError, "takes tensors, got undefined", () => sw.concat([f32(2), untyped(undefined)])],
  ["gather", DTypeError, "takes tensors, got 1", () => f32(2).take(untyped(1), 0)],
  ["oneHot", DTypeError, "indices are i32 or u32 (got 3)", () => sw.oneHot(untyped(3), 4)],
  ["softmax", DTypeError, "takes floating-point tensors; cast first", () => sw.softmax(untyped(3))],
  [
    "crossEntropy",
    ShapeError,
    "(got true,false)",
    () => sw.crossEntropy(f32(2, 3), [0, 1], { mask: untyped([true, false]) }),
  ],
  ["pad", DTypeError, "1.5 is not a value of i32", () => i32(1).pad([[1, 1]], 1.5)],
  ["full", DTypeError, "1.5 is not a value of i32", () => sw.full([2], 1.5, { dtype: "i32" })],
  ["full", DTypeError, 'takes a number, got "3"', () => sw.full([2], untyped("3"))],
  ["tensor", DTypeError, '1.5 is not a value of i32; .cast("i32")', () => tensor([1, 1.5], { dtype: "i32" })],
  ["tensor", DTypeError, "-1 is not a value of u32", () => tensor([-1], { dtype: "u32" })],
  ["tensor", DTypeError, "4294967295 is not a value of i32", () => tensor(Uint32Array.of(-1), { dtype: "i32" })],
  ["tensor", DTypeError, "numbers or booleans, got 1n", () => tensor(untyped([1n]))],
  ["iota", DTypeError, "not in bool", () => sw.arange(0, 3, 1, { dtype: "bool" })],
  ["oneHot", DTypeError, "indices are i32 or u32 (got f32[2])", () => f32(2).oneHot(3)],
  ["bincount", DTypeError, "counts i32 (got f32[2])", () => f32(2).bincount(3)],

  // Shapes and axes.
  [
    "sum",
    ShapeError,
    'an axis is a number or an array of them, got {"axis":0}',
    () => f32(2).sum(untyped({ axis: 0 })),
  ],
  ["reshape", ShapeError, "a shape is an array of extents, got 2; write [2]", () => f32(2, 3).reshape(untyped(2))],
  ["permute", ShapeError, "axes are an array, got 1; write [1]", () => f32(2, 3).permute(untyped(1))],
  ["slice", ShapeError, "of integers (got [0.5,2] for axis 0 of f32[3])", () => f32(3).slice([0.5, 2])],
  ["slice", ShapeError, "of integers (got [null,2] for", () => f32(3).slice([NaN, 2])],
  ["slice", ShapeError, "of integers (got [0,2,1.5] for", () => f32(3).slice([0, 2, 1.5])],
  ["slice", ShapeError, 'of integers (got "1" for', () => f32(3).slice(untyped("1"))],
  ["pad", ShapeError, "a width is [before, after], non-negative integers (got [-1,0]", () => f32(3).pad([[-1, 0]])],
  ["pad", ShapeError, "a width is [before, after], non-negative integers (got [1]", () => f32(3).pad(untyped([[1]]))],
  ["concat", ShapeError, "axis 5 is out of range", () => sw.concat([f32(2)], 5)],
  ["concat", ShapeError, "takes an array of tensors, got f32[2]", () => sw.concat(untyped(f32(2)))],
  ["stack", ShapeError, "inputs must have one shape (got f32[2], f32[3])", () => sw.stack([f32(2), f32(3)])],
  ["split", ShapeError, "does not divide into 1.5 equal parts", () => f32(3).split(1.5)],
  ["split", ShapeError, "non-negative integers, got [4,-1]", () => f32(3).split([4, -1])],
  ["bincount", ShapeError, "non-negative integers, got [1.5]", () => i32(2).bincount(1.5)],
  ["segmentSum", ShapeError, "non-negative integers, got [-1]", () => f32(1).segmentSum([0], -1)],
  ["scatter", ShapeError, "non-negative integers, got [0.5]", () => sw.scatter(f32(1), [0], [0.5])],
  ["dot", ShapeError, "vectors of one length (got f32[2], f32[3])", () => f32(2).dot(f32(3))],
  ["arange", ShapeError, "must be finite, got 0, Infinity, 1", () => sw.arange(0, Infinity)],
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
  ["argMax", ShapeError, "a scalar has no axes", () => f32().argMax(-1)],
  ["cumprod", ShapeError, "axis 1", () => f32(2).cumprod(1)],
  ["argsort", ShapeError, "axis 1", () => f32(2).sort(1)],
  ["topK", ShapeError, "k must be an integer from 0 to the axis length 3, got 4", () => f32(2, 3).topK(4)],
  ["topK", ShapeError, "got -1", () => f32(2, 3).topK(-1)],
  ["topK", ShapeError, "got 1.5", () => f32(2, 3).topK(1.5)],
  ["matmul", ShapeError, "lhs has 3 columns but rhs has 2 rows", () => f32(2, 3).matmul(f32(2, 3))],
  ["matmul", DTypeError, "takes tensors, got 3; use mul for a number", () => f32(2, 2).matmul(untyped(3))],
  ["matmul", DTypeError, "takes tensors, got undefined", () => f32(2, 2).matmul(untyped(undefined))],
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
  ["oneHot", ShapeError, "non-negative integers, got [-1]", () => i32(2).oneHot(-1)],
  ["repeat", ShapeError, "non-negative integers, got [-1]", () => f32(2).repeat(-1)],
  ["tile", ShapeError, "non-negative integers, got [0.5]", () => f32(2).tile([0.5])],
  ["eye", ShapeError, "non-negative integers, got [-2]", () => sw.eye(-2)],
  ["linspace", ShapeError, "positive integer, got 0", () => sw.linspace(0, 1, 0)],
  ["arange", ShapeError, "step must not be 0", () => sw.arange(0, 3, 0)],
  ["full", ShapeError, "got 3; write [3]", () => zeros(untyped(3))],
  ["random.normal", ShapeError, "from random.key", () => sw.random.normal(untyped(3), [2])],
  ["random.split", ShapeError, "positive integer, got -1", () => sw.random.split(sw.random.key(0), -1 as number)],
  ["random.randint", ConfigError, "min < max", () => sw.random.randint(sw.random.key(0), [2], { max: 0 })],
  ["random.randint", ConfigError, "takes an object", () => sw.random.randint(sw.random.key(0), [2], untyped(5))],
  ["random.bernoulli", ConfigError, "got 0.3", () => sw.random.bernoulli(sw.random.key(0), [2], untyped(0.3))],
  [
    "random.normal",
    ConfigError,
    'unknown option "sd"',
    () => sw.random.normal(sw.random.key(0), [2], untyped({ sd: 2 })),
  ],
  [
    "random.gumbel",
    ConfigError,
    'unknown option "low"',
    () => sw.random.gumbel(sw.random.key(0), [2], untyped({ low: 2 })),
  ],
  ["random.key", ConfigError, "a seed is an integer", () => sw.random.key(1.5)],
  [
    "random.uniform",
    ConfigError,
    "min <= max, got [1, 0)",
    () => sw.random.uniform(sw.random.key(0), [2], { min: 1, max: 0 }),
  ],
  [
    "random.uniform",
    ConfigError,
    "min <= max, got [NaN, 1)",
    () => sw.random.uniform(sw.random.key(0), [2], { min: NaN }),
  ],
  [
    "searchSorted",
    ConfigError,
    'one of "left", "right", got up',
    () => f32(2).searchSorted(f32(1), { side: untyped("up") }),
  ],
  [
    "groupedMatmul",
    ConfigError,
    'one of "rows", "contract", got cols',
    () => f32(2, 2).groupedMatmul(f32(1, 2, 2), i32(2), { mode: untyped("cols") }),
  ],
  ["dropout", ConfigError, "rate must be in [0, 1), got 1", () => sw.dropout(sw.random.key(0), f32(2), 1)],
  [
    "crossEntropy",
    ConfigError,
    'one of "mean", "sum", "none"',
    () => sw.crossEntropy(f32(2, 3), [0, 1], { reduction: untyped("avg") }),
  ],
  ["gather", DTypeError, "integers (got 0.5", () => f32(3).gather([0.5])],

  // What is no dtype, no device, no element, no longer there.
  ["tensor", DTypeError, 'unknown dtype "f8"; dtypes are f16, f32, f64', () => tensor([1], { dtype: untyped("f8") })],
  ["zeros", DTypeError, 'unknown dtype "float32"', () => zeros([1], { dtype: untyped("float32") })],
  ["cast", DTypeError, 'unknown dtype "int"', () => f32(1).cast(untyped("int"))],
  ["tensor", DTypeError, "numbers or booleans, got undefined", () => tensor(untyped(undefined))],
  ["tensor", DTypeError, 'numbers or booleans, got "1"', () => tensor(untyped("1"))],
  ["tensor", ConfigError, 'unknown device "gpu"; devices are cpu, wasm', () => tensor([1], { device: untyped("gpu") })],
  ["zeros", ConfigError, 'unknown device "gpu"', () => zeros([1], { device: untyped("gpu") })],
  ["to", ConfigError, 'unknown device "gpu"', () => f32(1).to(untyped("gpu"))],
  ["memory", ConfigError, 'unknown device "gpu"', () => sw.memory(untyped("gpu"))],
  ["setDefaultDevice", ConfigError, 'unknown device "gpu"', () => sw.setDefaultDevice(untyped("gpu"))],
  ["add", DeviceError, "move one with .to(device)", () => f32(2).add(zeros([2], { device: "wasm" }))],
  ["tensor f32[2]", DisposedError, "made by full was disposed; use it before", () => disposed().add(1)],
  ["scope", ConfigError, "async", () => sw.scope("a", async () => {})],
  ["tensor", ShapeError, "must be rectangular, got [1] beside [2]", () => tensor([[1], [1, 2]])],
  ["tensor", DTypeError, "mixed", () => tensor([1, true])],
  ["full", ShapeError, "non-negative integers", () => zeros([-1])],
];

const escaped = (text: string): string => text.replaceAll(/[.[\]]/g, "\\$&");

test.each(mistakes.map(([op, kind, says, act]) => ({ op, kind, says, act, name: kind.name })))(
  "$op throws a $name: $says",
  ({ op, kind, says, act }) => {
    expect(act).toThrow(kind);
    expect(act).toThrow(says);
    expect(act).toThrow(new RegExp(`^${escaped(op)}(:| )[^\n]+$`));
  },
);

test.each<[string, new () => Error, RegExp, () => Promise<unknown>]>([
  [
    "an unknown device",
    ConfigError,
    /^init: unknown device "gpu"; devices are cpu, wasm, webgpu$/,
    () => init(untyped("gpu")),
  ],
  ["no device", DeviceError, /^init: no device started \(none was named\)$/, () => init([])],
  [
    "an unknown option",
    ConfigError,
    /^init: unknown option "thread"; options are debug, /,
    () => init("cpu", untyped({ thread: 2 })),
  ],
  [
    "threads that are none",
    ConfigError,
    /^init: threads must be an integer of at least 0, got -1$/,
    () => init("wasm", { threads: -1 }),
  ],
  [
    "other options",
    ConfigError,
    /^init: cpu already runs with .*; call shutdown\(\) first$/,
    () => init("cpu", { debug: true }),
  ],
  ["a disposed tensor", DisposedError, /^tensor f32\[2\] made by full was disposed; /, async () => disposed().data()],
  [
    "more than fits",
    DeviceError,
    /^cpu: out of memory: f32\[1099511627776\] does not fit. Largest owners: /,
    () =>
      f32(2 ** 40)
        .sum()
        .item(),
  ],
  [
    "many elements",
    DTypeError,
    /^item: the tensor must have one element \(got f32\[2\]\); use data/,
    () => f32(2).item(),
  ],
  [
    "what needs a disposed tensor",
    DisposedError,
    /^tanh: needs f32\[2\] made by tensor, which was disposed/,
    async () => {
      const x = tensor([1, 2]);
      const y = x.tanh();
      x.dispose();
      return y.data();
    },
  ],
])("%s is refused when it is asked for", async (_, kind, message, act) => {
  const error = await act().then(String, (error: unknown) => error);
  expect(error).toBeInstanceOf(kind);
  expect((error as Error).message).toMatch(message);
  expect((error as Error).message).not.toContain("\n");
});

test("arithmetic with a JavaScript operator names the method", () => {
  expect(() => (f32(2) as unknown as number) + 1).toThrow(".add(x)");
});

test("realize throws a ConfigError for an option that it does not know, which would else do nothing", async () => {
  await expect(sw.realize(f32(1), untyped({ donated: f32(1) }))).rejects.toThrow(
    new ConfigError('realize: unknown option "donated"; options are donate'),
  );
});
