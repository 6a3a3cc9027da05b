// What holds of every router, whatever it decides by.
import { checkGrads, grad, treeLeaves, treeMap } from "@switchyard/autograd";
import { init, random, tensor, zeros, type DeviceName, type Tensor } from "@switchyard/tensor";
import {
  baseAssignment,
  gshardTop2,
  hashRouter,
  hierarchicalTopK,
  moe,
  noisyTopK,
  randomRouter,
  sigmoidTopK,
  softmaxTopK,
  switchTop1,
  type RouteOptions,
  type Router,
  type Routing,
} from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor, rowsOf } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [T, D, H, E] = [6, 3, 4, 4];

interface Case {
  readonly name: string;
  /** A router that sends tokens to `k` experts, as far as it lets k be chosen. */
  readonly make: (k: number) => Router<object, Routing>;
  readonly k?: number;
  /** Whether tied experts are chosen lowest first. */
  readonly ties?: false;
  /** Whether a draw may be given in place of a key. */
  readonly takesNoise?: true;
}

const cases: Case[] = [
  { name: "noisyTopK", make: (k) => noisyTopK({ k }), takesNoise: true },
  { name: "softmaxTopK", make: (k) => softmaxTopK({ k }) },
  { name: "switchTop1", make: () => switchTop1(), k: 1 },
  { name: "gshardTop2", make: () => gshardTop2(), k: 2 },
  { name: "sigmoidTopK", make: (k) => sigmoidTopK({ k }) },
  { name: "baseAssignment", make: () => baseAssignment(), k: 1 },
  {
    name: "hierarchicalTopK",
    make: (k) => hierarchicalTopK(k === 1 ? { groups: 1, topGroups: 1, k } : { groups: 2, topGroups: k / 2, k: 2 }),
  },
  { name: "hashRouter", make: (k) => hashRouter({ k }), ties: false },
  { name: "randomRouter", make: (k) => randomRouter({ k }), ties: false },
];

/** Parameters with random numbers everywhere, f64. */
const randomised = <P>(params: P): P => {
  let seed = 20;
  return treeMap((t) => randomTensor(seed++, t.shape), params);
};
const optionsFor = (tokens: number, more: RouteOptions = {}): RouteOptions => ({
  tokenIds: tensor(
    Int32Array.from({ length: tokens }, (_, i) => 7 * i),
    { device: "cpu" },
  ),
  ...more,
});
const layerOf = (router: Router<object, Routing>, experts = E, dispatch?: "dropless" | "dense") =>
  moe({ dim: D, hidden: H, experts, router, activation: "silu", dispatch });
const isZero = async (t: Tensor): Promise<boolean> => [...(await t.data())].every((v) => v === 0);
const closeTo = async (a: Tensor, b: Tensor): Promise<void> => {
  const wanted = await b.data();
  (await a.data()).forEach((v, i) => expect(v).toBeCloseTo(wanted[i], 10));
};

describe.each(cases)("$name", ({ make, k: only, takesNoise }) => {
  const k = only ?? 2;

  test("sends each token to k distinct experts, counted and sorted", async () => {
    const router = make(k);
    const params = randomised(router.init(random.key(0), { dim: D, experts: E }));
    const r = router.route(params, randomTensor(1, [T, D]), optionsFor(T));
    const chosen = await rowsOf(r.experts!);
    expect(chosen.map((row) => new Set(row).size)).toEqual(new Array(T).fill(k));
    const counts = new Array<number>(E).fill(0);
    for (const e of chosen.flat()) counts[e]++;
    expect([...(await r.counts.data())]).toEqual(counts);
    expect([...(await r.slots.expert.data())]).toEqual(chosen.flat().toSorted((a, b) => a - b));
    expect(r.probs.shape).toEqual([T, E]);
  });

  test("gradients of a layer are those of finite differences, to second order", async () => {
    const layer = layerOf(make(k));
    const params = randomised(layer.init(random.key(0)));
    await checkGrads(
      (p: typeof params, x: Tensor, noise: Tensor, mask: Tensor) =>
        layer
          .apply(p, x, optionsFor(T, { mask, ...(takesNoise && { noise }) }))
          .output.square()
          .mean(),
      [params, randomTensor(2, [T, D]), randomTensor(3, [T, E]), tensor([true, true, false, true, true, true])],
    );
  });

  test("gradients in training are those of finite differences, once the draw is fixed by the key", async () => {
    const layer = layerOf(make(k));
    const params = randomised(layer.init(random.key(0)));
    await checkGrads(
      (p: typeof params, x: Tensor) =>
        layer
          .apply(p, x, optionsFor(T, { train: true, key: random.key(5, { device: "cpu" }) }))
          .output.square()
          .mean(),
      [params, randomTensor(2, [T, D])],
      { order: 1 },
    );
  });

  test("dropless and dense dispatch agree in training too", async () => {
    const params = randomised(layerOf(make(k)).init(random.key(0)));
    const x = randomTensor(4, [T, D]);
    const outputs = (["dropless", "dense"] as const).map(
      (how) => layerOf(make(k), E, how).apply(params, x, optionsFor(T, { train: true, key: random.key(1) })).output,
    );
    await closeTo(outputs[0], outputs[1]);
  });

  test("padding changes nothing for the others, and comes out as zero", async () => {
    const layer = layerOf(make(k));
    const params = randomised(layer.init(random.key(0)));
    const x = randomTensor(4, [T, D]);
    const alone = layer.apply(params, x.slice([0, 4]), optionsFor(4));
    const among = layer.apply(params, x, optionsFor(T, { mask: tensor([true, true, true, true, false, false]) }));
    await closeTo(among.output.slice([0, 4]), alone.output);
    expect(await isZero(among.output.slice([4]))).toBe(true);
    await closeTo(among.routing.counts, alone.routing.counts);
  });

  test("no tokens, and nothing but padding: no output, no count, no NaN", async () => {
    const layer = layerOf(make(k));
    const params = randomised(layer.init(random.key(0)));
    const none = layer.apply(params, zeros([0, D], { dtype: "f64" }), optionsFor(0));
    expect(none.output.shape).toEqual([0, D]);
    expect(await isZero(none.routing.counts)).toBe(true);
    const x = randomTensor(4, [2, D]);
    const mask = tensor([false, false]);
    const padding = layer.apply(params, x, optionsFor(2, { mask }));
    expect(await isZero(padding.output)).toBe(true);
    expect(await isZero(padding.routing.counts)).toBe(true);
    const grads = grad((p: typeof params) => layer.apply(p, x, optionsFor(2, { mask })).output.square().sum())(params);
    for (const t of treeLeaves(grads)) expect(await isZero(t)).toBe(true);
  });

  test("decides on wasm as on cpu", async () => {
    const router = make(k);
    const shapes = router.init(random.key(0), { dim: D, experts: E });
    const decided = async (device: DeviceName) => {
      let seed = 20;
      const onDevice = (t: Tensor): Tensor => t.cast("f32").to(device);
      const params = treeMap((t) => onDevice(randomTensor(seed++, t.shape)), shapes);
      const { tokenIds } = optionsFor(40);
      const options = { tokenIds: tokenIds!.to(device), train: true, key: random.key(3, { device }) };
      const r = router.route(params, onDevice(randomTensor(7, [40, D])), options);
      return {
        experts: await r.experts!.toArray(),
        weights: await rowsOf(r.weights!),
        offsets: await r.offsets.toArray(),
      };
    };
    const [cpu, wasm] = [await decided("cpu"), await decided("wasm")];
    expect(wasm.experts).toEqual(cpu.experts);
    expect(wasm.offsets).toEqual(cpu.offsets);
    wasm.weights.forEach((row, t) => row.forEach((w, j) => expect(w).toBeCloseTo(cpu.weights[t][j], 5)));
  });

  test("k = E sees every expert; one expert alone sees every token", async () => {
    for (const experts of only === undefined ? [E, 1] : [only]) {
      const layer = layerOf(make(only ?? experts), experts);
      const params = randomised(layer.init(random.key(0)));
      const { routing } = layer.apply(params, randomTensor(6, [T, D]), optionsFor(T));
      expect([...(await routing.counts.data())]).toEqual(new Array(experts).fill(T));
    }
  });
});

// A hash and a draw have no ties to speak of.
test.each(cases.filter(({ ties }) => ties !== false))("$name: ties go to the lower expert", async ({ make, k = 2 }) => {
  const router = make(k);
  const params = treeMap((t) => t.mul(0), router.init(random.key(0), { dim: D, experts: E }));
  const { experts } = router.route(params, randomTensor(5, [T, D]).cast("f32"), optionsFor(T));
  expect(await rowsOf(experts!)).toEqual(new Array(T).fill(Array.from({ length: k }, (_, i) => i)));
});
