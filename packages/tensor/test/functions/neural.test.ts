import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import {
  ConfigError,
  crossEntropy,
  dropout,
  init,
  layerNorm,
  logSoftmax,
  random,
  rmsNorm,
  softmax,
  tensor,
  zeros,
} from "@switchyard/tensor";
import { indices, shape, tensorOf } from "@switchyard/tensor/testing";
import { at, build, expectClose, hostOf, mapRows, sum, type Host } from "../host.ts";

beforeAll(() => init("cpu"));

const matrix = tensorOf({ shape: shape({ minDims: 1, maxDims: 3 }), dtype: "f64", corners: true });
const nonEmpty = tensorOf({ shape: shape({ minDims: 1, maxDims: 3, minExtent: 1 }), dtype: "f64" });
const axisSeed = fc.nat();

const softmaxRow = (row: number[]): number[] => {
  const total = sum(row.map(Math.exp));
  return row.map((x) => Math.exp(x) / total);
};

describe("softmax", () => {
  property.prop([matrix, axisSeed])("softmax is exp(x) over its sum, along any axis", async (x, seed) => {
    const axis = seed % x.ndim;
    await expectClose(softmax(x, axis), mapRows(await hostOf(x), axis, softmaxRow), 1e-14);
  });

  property.prop([matrix, axisSeed])("logSoftmax is the logarithm of softmax, along any axis", async (x, seed) => {
    const axis = seed % x.ndim;
    const expected = mapRows(await hostOf(x), axis, (row) => softmaxRow(row).map(Math.log));
    await expectClose(logSoftmax(x, axis - x.ndim), expected, 1e-13);
  });

  test("both are finite where exp overflows, and exact where one element rules", async () => {
    const x = tensor([
      [1e30, 0, -1e30],
      [-1e30, -1e30, -1e30],
      [1000, 1000, -Infinity],
    ]);
    const third = Math.fround(1 / 3);
    await expectClose(softmax(x), { shape: [3, 3], data: [1, 0, 0, third, third, third, 0.5, 0.5, 0] }, 1e-7);
    const [row] = (await logSoftmax(x).slice([1, 2]).toArray()) as number[][];
    row.forEach((value) => expect(value).toBeCloseTo(-Math.log(3), 6));
    expect((await logSoftmax(x).data())[1]).toBe(Math.fround(-1e30));
  });

  test("a row of -inf gives zeros in softmax and stays -inf in logSoftmax", async () => {
    const x = tensor([
      [-Infinity, -Infinity],
      [0, -Infinity],
    ]);
    expect(await softmax(x).toArray()).toEqual([
      [0, 0],
      [1, 0],
    ]);
    expect(await logSoftmax(x).toArray()).toEqual([
      [-Infinity, -Infinity],
      [0, -Infinity],
    ]);
  });
});

const normalized = (row: readonly number[], centre: number, eps: number): number[] => {
  const centred = row.map((x) => x - centre);
  const root = Math.sqrt(sum(centred.map((x) => x * x)) / row.length + eps);
  return centred.map((x) => x / root);
};

describe("layerNorm and rmsNorm", () => {
  property.prop([nonEmpty, axisSeed, fc.constantFrom(1e-5, 0.1)])(
    "along one axis they are the dull formulas",
    async (x, seed, eps) => {
      const axis = seed % x.ndim;
      const host = await hostOf(x);
      const layer = mapRows(host, axis, (row) => normalized(row, sum(row) / row.length, eps));
      await expectClose(layerNorm(x, null, null, { axis, eps }), layer, 1e-12);
      const rms = mapRows(host, axis, (row) => normalized(row, 0, eps));
      await expectClose(rmsNorm(x, null, null, { axis, eps }), rms, 1e-12);
    },
  );

  test("weight and bias apply along the axes normalised over", async () => {
    const x = random.normal(random.key(0), [2, 3, 4], { dtype: "f64" });
    const weight = random.normal(random.key(1), [2, 4], { dtype: "f64" });
    const bias = random.normal(random.key(2), [2, 4], { dtype: "f64" });
    const [hx, hw, hb] = await Promise.all([x, weight, bias].map(hostOf));
    const column = (j: number): number[] => [0, 1].flatMap((i) => [0, 1, 2, 3].map((k) => at(hx, [i, j, k])));
    const expected = build([2, 3, 4], ([i, j, k]) => {
      const mean = sum(column(j)) / 8;
      return normalized(column(j), mean, 1e-5)[i * 4 + k] * at(hw, [i, k]) + at(hb, [i, k]);
    });
    await expectClose(layerNorm(x, weight, bias, { axis: [0, 2] }), expected, 1e-12);
  });

  test("squares of large elements do not overflow", async () => {
    await expectClose(layerNorm(tensor([1e30, -1e30])), { shape: [2], data: [1, -1] }, 1e-6);
    await expectClose(rmsNorm(tensor([3e37, -3e37])), { shape: [2], data: [1, -1] }, 1e-6);
  });

  test("constant rows give zeros and a zero row stays finite", async () => {
    expect(await layerNorm(tensor([[5, 5, 5]])).toArray()).toEqual([[0, 0, 0]]);
    expect(await rmsNorm(tensor([[0, 0]])).toArray()).toEqual([[0, 0]]);
  });
});

describe("crossEntropy", () => {
  const cases = fc
    .tuple(shape({ maxDims: 2 }), fc.integer({ min: 1, max: 5 }))
    .chain(([examples, classes]) =>
      fc.tuple(
        tensorOf({ shape: fc.constant([...examples, classes]), dtype: "f64" }),
        indices({ shape: fc.constant(examples), size: classes }),
        tensorOf({ shape: fc.constant(examples), dtype: "bool" }),
      ),
    );
  const lossesOf = (logits: Host, classes: Host): Host =>
    build(classes.shape, (index) => {
      const row = Array.from({ length: logits.shape.at(-1)! }, (_, c) => at(logits, [...index, c]));
      return -Math.log(softmaxRow(row)[at(classes, index)]);
    });

  property.prop([cases])("it is minus the log probability of the class", async ([logits, classes, mask]) => {
    const losses = lossesOf(await hostOf(logits), await hostOf(classes));
    await expectClose(crossEntropy(logits, classes, { reduction: "none" }), losses, 1e-12);
    await expectClose(
      crossEntropy(logits, classes, { reduction: "sum" }),
      { shape: [], data: [sum(losses.data)] },
      1e-12,
    );
    const counts = await mask.data();
    const counted = losses.data.filter((_, i) => counts[i]);
    const mean = counted.length === 0 ? 0 : sum(counted) / counted.length;
    await expectClose(crossEntropy(logits, classes, { mask }), { shape: [], data: [mean] }, 1e-12);
  });

  property.prop([cases])("one-hot probabilities give the loss of the classes", async ([logits, classes]) => {
    const p = classes.oneHot(logits.shape.at(-1)!, { dtype: "f64" });
    const expected = await hostOf(crossEntropy(logits, classes, { reduction: "none" }));
    await expectClose(crossEntropy(logits, p, { reduction: "none" }), expected, 1e-12);
  });

  test("an impossible class of probability 0 costs nothing, a wanted one costs infinity", async () => {
    const logits = tensor([[0, -Infinity]]);
    expect(await crossEntropy(logits, tensor([[1, 0]])).item()).toBe(0);
    expect(await crossEntropy(logits, tensor([[0.5, 0.5]])).item()).toBe(Infinity);
    expect(await crossEntropy(logits, [1]).item()).toBe(Infinity);
  });

  test("a masked example with NaN logits leaves the mean alone", async () => {
    const logits = tensor([
      [0, 0],
      [NaN, 0],
    ]);
    const loss = crossEntropy(logits, [0, 0], { mask: tensor([true, false]) });
    expect(await loss.item()).toBeCloseTo(Math.log(2), 6);
  });
});

describe("dropout", () => {
  test("it keeps the share 1 - rate, scaled by 1 / (1 - rate)", async () => {
    const data = await dropout(random.key(0), tensor(new Float32Array(20_000).fill(3)), 0.25).data();
    expect(new Set(data)).toEqual(new Set([0, 4]));
    const kept = data.filter((x) => x === 4).length / data.length;
    expect(Math.abs(kept - 0.75)).toBeLessThan(4 * Math.sqrt(0.1875 / 20_000));
  });

  test("rate 0 changes nothing", async () => {
    const x = tensor([1, -2, 3]);
    expect(await dropout(random.key(0), x, 0).toArray()).toEqual([1, -2, 3]);
  });

  test.each([1, -0.1, NaN])("the rate %d is refused", (rate) => {
    expect(() => dropout(random.key(0), zeros([2]), rate)).toThrow(ConfigError);
  });
});
