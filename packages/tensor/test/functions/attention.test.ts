import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import { arange, attention, call, init, random, tensor, zeros, type Tensor } from "@switchyard/tensor";
import { topologicalOrder } from "@switchyard/tensor/graph";
import { at, build, expectClose, hostOf, sum, type Host } from "../host.ts";

beforeAll(() => init("cpu"));

const draw = (seed: number, ...shape: number[]): Tensor => random.normal(random.key(seed), shape, { dtype: "f64" });

interface Case {
  batch: number;
  heads: number;
  groups: number;
  queries: number;
  keys: number;
  causal: boolean;
  scale: number;
}

/** One query at a time, over the keys it may see. */
const dullAttention = (q: Host, k: Host, v: Host, mask: Host | null, c: Case): Host =>
  build([c.batch, c.heads, c.queries, v.shape[3]], ([b, h, i, e]) => {
    const g = Math.floor(h / (c.heads / c.groups));
    const seen = [...Array(c.keys).keys()].filter(
      (j) => (!mask || at(mask, [b, i, j]) !== 0) && (!c.causal || j <= i + c.keys - c.queries),
    );
    const weights = seen.map((j) =>
      Math.exp(c.scale * sum([...Array(q.shape[3]).keys()].map((d) => at(q, [b, h, i, d]) * at(k, [b, g, j, d])))),
    );
    return seen.length === 0 ? 0 : sum(seen.map((j, n) => weights[n] * at(v, [b, g, j, e]))) / sum(weights);
  });

const cases = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  groups: fc.integer({ min: 1, max: 2 }),
  share: fc.integer({ min: 1, max: 3 }),
  queries: fc.integer({ min: 1, max: 4 }),
  keys: fc.integer({ min: 1, max: 4 }),
  causal: fc.boolean(),
  masked: fc.boolean(),
  seed: fc.nat({ max: 1000 }),
});

describe("attention", () => {
  property.prop([cases])("each query is the softmax-weighted mean of the values it sees", async (c) => {
    const full: Case = { ...c, heads: c.groups * c.share, scale: 0.7 };
    const q = draw(c.seed, c.batch, full.heads, c.queries, 3);
    const k = draw(c.seed + 1, c.batch, c.groups, c.keys, 3);
    const v = draw(c.seed + 2, c.batch, c.groups, c.keys, 2);
    const allowed = random.bernoulli(random.key(c.seed + 3), [c.batch, c.queries, c.keys], { p: 0.6 });
    const mask = c.masked ? allowed.expandDims(1) : undefined;
    const [hq, hk, hv, hm] = await Promise.all([q, k, v, allowed].map(hostOf));
    const out = attention(q, k, v, { causal: c.causal, mask, scale: full.scale });
    await expectClose(out, dullAttention(hq, hk, hv, c.masked ? hm : null, full), 1e-12);
  });

  test.each([
    [64, 64],
    [131, 131],
    [70, 101],
    [101, 70],
  ])(
    "%i causal queries of %i keys, cut in halves, see what a mask of the past lets them see",
    async (queries, keys) => {
      const q = draw(0, 2, 4, queries, 3);
      const [k, v] = [draw(1, 2, 2, keys, 3), draw(2, 2, 2, keys, 2)];
      const position = (n: number): Tensor => arange(n);
      const past = position(keys).le(
        position(queries)
          .add(keys - queries)
          .expandDims(1),
      );
      const expected = await hostOf(attention(q, k, v, { mask: past }));
      await expectClose(attention(q, k, v, { causal: true }), expected, 1e-12);
    },
  );

  test("of long causal attention, little more than the half that is seen is computed", () => {
    const [q, k, v] = [draw(0, 2, 512, 3), draw(1, 2, 512, 3), draw(2, 2, 512, 2)];
    const scores = (causal: boolean): number =>
      topologicalOrder([attention(q, k, v, { causal }).node])
        .filter(({ op, inputs }) => op === "matmul" && inputs[0].shape.at(-1) === 3)
        .reduce((n, { shape }) => n + shape.reduce((a, b) => a * b), 0);
    expect(scores(true) / scores(false)).toBe(0.5625); // eighths: (1 + 2 + … + 8) / 64
  });

  test("a mask may differ by query head under grouped heads", async () => {
    const [q, k, v] = [draw(0, 4, 3, 2), draw(1, 2, 3, 2), draw(2, 2, 3, 2)];
    const mask = random.bernoulli(random.key(3), [4, 3, 3], { p: 0.7 });
    const repeated = (x: Tensor): Tensor => x.repeat(2, 0);
    const expected = await hostOf(attention(q, repeated(k), repeated(v), { mask }));
    await expectClose(attention(q, k, v, { mask }), expected, 1e-12);
  });

  test("without heads it takes matrices, and scales by 1 / sqrt(d)", async () => {
    const [q, k, v] = [draw(0, 3, 4), draw(1, 5, 4), draw(2, 5, 2)];
    const expected = q.matmul(k.transpose()).div(2).softmax().matmul(v);
    await expectClose(attention(q, k, v), await hostOf(expected), 1e-12);
  });

  test("a query that sees no key gives zeros", async () => {
    const mask = tensor([
      [false, false],
      [true, false],
    ]);
    const out = await hostOf(attention(draw(0, 2, 3), draw(1, 2, 3), draw(2, 2, 3), { mask }));
    expect(out.data.slice(0, 3)).toEqual([0, 0, 0]);
    expect(out.data.slice(3).every((x) => x !== 0)).toBe(true);
  });

  test("it is one call node, whose scale is not among its attributes", () => {
    const { node } = attention(draw(0, 2, 3), draw(1, 2, 3), draw(2, 2, 3), { causal: true, scale: 0.3 });
    expect(node.op).toBe("call");
    expect(node.attrs).toEqual({ name: "attention", options: { causal: true } });
    expect(node.inputs.length).toBe(4);
  });

  test.each([
    ["one width", [2, 3], [2, 4], [2, 3]],
    ["one length", [2, 3], [4, 3], [5, 3]],
    ["the same heads", [4, 2, 3], [2, 2, 3], [4, 2, 3]],
    ["do not divide", [4, 2, 3], [3, 2, 3], [3, 2, 3]],
    ["takes [..., length, width]", [3], [2, 3], [2, 3]],
  ])("it refuses shapes without %s", (rule, q, k, v) => {
    expect(() => attention(zeros(q), zeros(k), zeros(v))).toThrow(rule);
  });
});

describe("call", () => {
  test("its value is the body's, and its node holds the result and the arguments", async () => {
    const hypotenuse = call("hypotenuse", (a: Tensor, b: Tensor) => a.square().add(b.square()).sqrt(), {
      stable: false,
    });
    const [a, b] = [tensor([3, 5]), tensor([4, 12])];
    const c = hypotenuse(a, b);
    expect(await c.toArray()).toEqual([5, 13]);
    expect(c.node.inputs.slice(1)).toEqual([a.node, b.node]);
    expect(c.node.attrs).toEqual({ name: "hypotenuse", options: { stable: false } });
  });
});
