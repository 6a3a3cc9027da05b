import { ConfigError, init, random, ShapeError, tensor, type Tensor } from "@switchyard/tensor";
import { checkGrads } from "@switchyard/autograd";
import { attention, type AttentionOptions, type AttentionParams } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, randomTensor, rowsOf, softmax, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const paramsOf = ({ dim, heads, kvHeads = heads }: AttentionOptions): AttentionParams => ({
  qkv: randomTensor(1, [dim, dim + (2 * kvHeads * dim) / heads]),
  out: randomTensor(2, [dim, dim]),
});

/** One sequence, by loops: each head of each position, over the positions so far. */
async function oracle(
  { qkv, out }: AttentionParams,
  x: Tensor,
  { dim, heads, kvHeads = heads, rope }: AttentionOptions,
) {
  const width = dim / heads;
  const turn = (v: number[], position: number): number[] => {
    if (rope === undefined) return v;
    const half = width / 2;
    return v.map((value, i) => {
      const angle = position * rope ** (-(i % half) / half);
      return i < half
        ? value * Math.cos(angle) - v[i + half] * Math.sin(angle)
        : value * Math.cos(angle) + v[i - half] * Math.sin(angle);
    });
  };
  const projected = matmul(await rowsOf(x), await rowsOf(qkv));
  const part = (row: number[], first: number, head: number) =>
    row.slice(first + head * width, first + (head + 1) * width);
  const heard = projected.map((row, s) =>
    Array.from({ length: heads }, (_, h) => {
      const group = Math.floor(h / (heads / kvHeads));
      const q = turn(part(row, 0, h), s);
      const keys = projected.slice(0, s + 1).map((past, t) => turn(part(past, dim, group), t));
      const weights = softmax(keys.map((k) => sum(k.map((y, i) => y * q[i])) / Math.sqrt(width)));
      const values = projected.slice(0, s + 1).map((past) => part(past, dim + kvHeads * width, group));
      return q.map((_q, i) => sum(values.map((v, t) => v[i] * weights[t])));
    }).flat(),
  );
  return matmul(heard, await rowsOf(out));
}

const kinds: [string, AttentionOptions][] = [
  ["one head", { dim: 4, heads: 1 }],
  ["heads", { dim: 8, heads: 4 }],
  ["shared keys and values", { dim: 8, heads: 4, kvHeads: 2 }],
  ["rotary positions", { dim: 8, heads: 2, rope: 100 }],
  ["all of it", { dim: 8, heads: 4, kvHeads: 1, rope: 100 }],
];

describe("attention", () => {
  test.each(kinds)("with %s is what the loops say", async (_, options) => {
    const params = paramsOf(options);
    const x = randomTensor(3, [2, 5, options.dim]);
    const got = attention(options).apply(params, x);
    for (let b = 0; b < 2; b++) {
      const wanted = await oracle(params, x.slice(b), options);
      for (const [s, row] of (await rowsOf(got.slice(b))).entries())
        for (const [i, y] of row.entries()) expect(y).toBeCloseTo(wanted[s][i], 9);
    }
  });

  test.each(kinds)("with %s and a cache is the pass over the whole sequence", async (_, options) => {
    const layer = attention(options);
    const params = layer.init(random.key(0));
    const x = random.normal(random.key(1), [2, 7, options.dim]);
    const whole = (await layer.apply(params, x).toArray()) as number[][][];
    let cache = layer.start(params, 2, 9);
    let position = 0;
    for (const steps of [3, 1, 2, 1]) {
      const part = x.slice([], [position, position + steps]);
      const { output, cache: next } = layer.step(params, part, cache, tensor(position, { dtype: "i32" }));
      const got = (await output.toArray()) as number[][][];
      for (const b of [0, 1])
        for (let s = 0; s < steps; s++)
          for (let i = 0; i < options.dim; i++) expect(got[b][s][i]).toBeCloseTo(whole[b][position + s][i], 4);
      [cache, position] = [next, position + steps];
    }
  });

  test("what comes later changes nothing before", async () => {
    const options: AttentionOptions = { dim: 4, heads: 2, rope: 100 };
    const x = randomTensor(3, [1, 5, 4]);
    const changed = x.add(tensor([0, 0, 0, 1, 1], { dtype: "f64", device: "cpu" }).reshape([1, 5, 1]));
    const [before, after] = await Promise.all(
      [x, changed].map(async (input) => rowsOf(attention(options).apply(paramsOf(options), input).slice(0))),
    );
    expect(after.slice(0, 3)).toEqual(before.slice(0, 3));
    expect(after[3]).not.toEqual(before[3]);
  });

  test("with rotary positions alone, a sequence of one token has no place", async () => {
    const options: AttentionOptions = { dim: 4, heads: 1, rope: 100 };
    const layer = attention(options);
    const same = randomTensor(4, [1, 1, 4]).broadcastTo([1, 4, 4]);
    const [first, ...rest] = await rowsOf(layer.apply(paramsOf(options), same).slice(0));
    for (const row of rest) for (const [i, y] of row.entries()) expect(y).toBeCloseTo(first[i], 12);
  });

  test("its gradient passes the check", () => {
    const options: AttentionOptions = { dim: 4, heads: 2, kvHeads: 1, rope: 100 };
    return checkGrads(
      (p: AttentionParams, x: Tensor) => attention(options).apply(p, x).square().sum(),
      [paramsOf(options), randomTensor(3, [1, 3, 4])],
    );
  });

  test("heads that do not divide are a ConfigError", () => {
    expect(() => attention({ dim: 6, heads: 4 })).toThrow(ConfigError);
    expect(() => attention({ dim: 8, heads: 4, kvHeads: 3 })).toThrow(/kvHeads must divide heads/);
    expect(() => attention({ dim: 6, heads: 2, rope: 10 })).toThrow(/rope turns pairs/);
  });

  test("what is no batch of sequences is a ShapeError", () => {
    const layer = attention({ dim: 4, heads: 2 });
    expect(() => layer.apply(layer.init(random.key(0)), tensor([[1, 2, 3, 4]]))).toThrow(ShapeError);
  });
});
