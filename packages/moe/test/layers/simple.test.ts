import { arange, ConfigError, DTypeError, init, random, ShapeError, tensor, type Tensor } from "@switchyard/tensor";
import { checkGrads } from "@switchyard/autograd";
import { embedding, feedForward, linear, normalization, type FeedForwardParams } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, mean, randomTensor, rowsOf } from "../oracle.ts";

beforeAll(() => init("cpu"));

describe("linear", () => {
  const layer = linear({ in: 3, out: 2 });

  test("is x weight + bias over the last axis", async () => {
    const [x, weight] = [randomTensor(1, [2, 2, 3]), randomTensor(2, [3, 2])];
    const bias = tensor([10, 20], { dtype: "f64", device: "cpu" });
    const got = await rowsOf(layer.apply({ weight, bias }, x).reshape([4, 2]));
    const wanted = matmul(await rowsOf(x.reshape([4, 3])), await rowsOf(weight)).map(([a, b]) => [a + 10, b + 20]);
    for (const [i, row] of wanted.entries()) for (const [j, y] of row.entries()) expect(got[i][j]).toBeCloseTo(y, 12);
  });

  test("keeps the variance of what goes in, at first", async () => {
    const wide = linear({ in: 64, out: 64 });
    const x = random.normal(random.key(1), [64, 64]);
    const y = wide.apply(wide.init(random.key(0)), x);
    expect(await y.std().item()).toBeCloseTo(1, 1);
  });

  test("has no bias where none is wanted", () => {
    expect(Object.keys(linear({ in: 3, out: 2, bias: false }).init(random.key(0)))).toEqual(["weight"]);
  });

  test("another width is a ShapeError, a bad option a ConfigError", () => {
    expect(() => layer.apply(layer.init(random.key(0)), tensor([[1, 2]]))).toThrow(ShapeError);
    expect(() => layer.apply(layer.init(random.key(0)), tensor(1))).toThrow(
      /the last axis of x must be 3 \(got f32\[\]\)/,
    );
    expect(() => linear({ in: 0, out: 2 })).toThrow(ConfigError);
    expect(() => linear({ in: 3 } as never)).toThrow(/needs the option "out"/);
  });
});

describe("embedding", () => {
  const layer = embedding({ vocab: 4, dim: 2 });
  const table = () => tensor([0, 1, 2, 3, 4, 5, 6, 7], { shape: [4, 2] });

  test("is the row of each token, and zeros for a token beyond the table", async () => {
    const tokens = tensor(
      [
        [3, 0],
        [1, 4],
      ],
      { dtype: "i32" },
    );
    expect(await layer.apply({ table: table() }, tokens).toArray()).toEqual([
      [
        [6, 7],
        [0, 1],
      ],
      [
        [2, 3],
        [0, 0],
      ],
    ]);
  });

  test("tokens that are not i32 are a DTypeError", () => {
    expect(() => layer.apply({ table: table() }, tensor([1, 2]))).toThrow(DTypeError);
  });

  test("a token that comes twice gets both gradients", () =>
    checkGrads(
      (t) =>
        layer
          .apply({ table: t }, tensor([1, 1, 2], { dtype: "i32" }))
          .square()
          .sum(),
      [randomTensor(3, [4, 2])],
    ));
});

describe("normalization", () => {
  const x = randomTensor(5, [3, 8]);

  test("layer gives each row mean 0 and variance 1, then its scale and shift", async () => {
    const layer = normalization({ dim: 8, kind: "layer", eps: 0 });
    const [scale, shift] = [2, 5].map((n) => tensor(new Float64Array(8).fill(n), { device: "cpu" }));
    for (const row of await rowsOf(layer.apply({ scale, shift }, x))) {
      expect(mean(row)).toBeCloseTo(5, 9);
      expect(mean(row.map((y) => (y - 5) ** 2))).toBeCloseTo(4, 9);
    }
  });

  test("rms gives each row mean square 1", async () => {
    const layer = normalization({ dim: 8, eps: 0 });
    const scale = tensor(new Float64Array(8).fill(1), { device: "cpu" });
    for (const row of await rowsOf(layer.apply({ scale }, x))) expect(mean(row.map((y) => y * y))).toBeCloseTo(1, 9);
  });

  test("changes nothing but the scale at first, and rms has no shift", async () => {
    expect(Object.keys(normalization({ dim: 8 }).init())).toEqual(["scale"]);
    const { scale, shift } = normalization({ dim: 2, kind: "layer" }).init();
    expect([await scale.toArray(), await shift!.toArray()]).toEqual([
      [1, 1],
      [0, 0],
    ]);
  });
});

describe("feedForward", () => {
  test.each(["relu", "gelu", "silu", "swiglu"] as const)("%s is the network of one expert", async (activation) => {
    const layer = feedForward({ dim: 3, hidden: 5, activation });
    const params = layer.init(random.key(0));
    const x = random.normal(random.key(1), [4, 3]);
    const act = activation === "swiglu" ? "silu" : activation;
    const inner = x.matmul(params.w1).add(params.b1!)[act]();
    const gated = params.w3 ? inner.mul(x.matmul(params.w3)) : inner;
    expect(await layer.apply(params, x).toArray()).toEqual(await gated.matmul(params.w2).add(params.b2!).toArray());
    expect(params.w3 !== undefined).toBe(activation === "swiglu");
  });

  test("its gradient passes the check", () => {
    const layer = feedForward({ dim: 2, hidden: 3, activation: "swiglu" });
    const params = {
      w1: randomTensor(1, [2, 3]),
      b1: randomTensor(2, [3]),
      w2: randomTensor(3, [3, 2]),
      b2: randomTensor(4, [2]),
      w3: randomTensor(5, [2, 3]),
    };
    return checkGrads(
      (p: FeedForwardParams, x: Tensor) => layer.apply(p, x).square().sum(),
      [params, randomTensor(6, [2, 2])],
    );
  });
});

test("layers take no shape from what they are given: an empty batch gives an empty batch", async () => {
  const layer = linear({ in: 3, out: 2 });
  expect(layer.apply(layer.init(random.key(0)), arange(0).cast("f32").reshape([0, 3])).shape).toEqual([0, 2]);
});
