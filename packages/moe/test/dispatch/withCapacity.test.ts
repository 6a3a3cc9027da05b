import { checkGrads, ledger } from "@switchyard/autograd";
import { acrossDevices } from "@switchyard/autograd/testing";
import { init, ones, random, tensor, zeros, type Tensor } from "@switchyard/tensor";
import {
  combine,
  dispatch,
  makeRouting,
  moe,
  softmaxTopK,
  withCapacity,
  type CapacityConvention,
  type CapacityPriority,
  type TokenRouting,
} from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { fc, test as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor, rowsOf } from "../oracle.ts";

beforeAll(() => init("cpu"));

const drawn = {
  tokens: fc.integer({ min: 0, max: 9 }),
  experts: fc.integer({ min: 1, max: 4 }),
  k: fc.integer({ min: 1, max: 3 }),
};
const records = routing({ ...drawn, dtype: "f64" });
const priorities = fc.constantFrom<CapacityPriority>("position", "choice", "gate");
const isTrue = async (t: Tensor) => (await rowsOf(t)).map((row) => row.map(Boolean));
const realOf = async ({ mask, gates }: TokenRouting): Promise<boolean[]> =>
  mask ? [...(await mask.data())].map(Boolean) : new Array<boolean>(gates.shape[0]).fill(true);

/** Which pairs are dropped, by a loop over pairs in order of priority. */
async function dropsOf(r: TokenRouting, capacity: number, priority: CapacityPriority): Promise<boolean[][]> {
  const [experts, weights, real] = [await rowsOf(r.experts), await rowsOf(r.weights), await realOf(r)];
  const pairs = experts.flatMap((row, t) => row.map((expert, j) => ({ t, j, expert, weight: weights[t][j] })));
  const by: Partial<Record<CapacityPriority, (a: (typeof pairs)[0], b: (typeof pairs)[0]) => number>> = {
    choice: (a, b) => a.j - b.j,
    gate: (a, b) => b.weight - a.weight,
  };
  const seen = new Map<number, number>();
  const dropped = experts.map((row) => row.map(() => false));
  for (const { t, j, expert } of by[priority] ? pairs.toSorted(by[priority]) : pairs) {
    if (!real[t]) continue;
    const before = seen.get(expert) ?? 0;
    seen.set(expert, before + 1);
    dropped[t][j] = before >= capacity;
  }
  return dropped;
}

describe("withCapacity", () => {
  property.prop([records, fc.integer({ min: 1, max: 5 }), priorities], { numRuns: 80 })(
    "serves pairs in order of priority until there is no room, and tells which it dropped",
    async (r, capacity, priority) => {
      const limited = withCapacity(r, { capacity, priority });
      const dropped = await dropsOf(r, capacity, priority);
      expect(await isTrue(limited.dropped)).toEqual(dropped);
      const [experts, before, real] = [await rowsOf(r.experts), await rowsOf(r.weights), await realOf(r)];
      expect(await rowsOf(limited.weights)).toEqual(before.map((row, t) => row.map((w, j) => (dropped[t][j] ? 0 : w))));
      const counts = new Array<number>(r.gates.shape[1]).fill(0);
      experts.forEach((row, t) => row.forEach((e, j) => (counts[e] += Number(real[t] && !dropped[t][j]))));
      expect([...(await limited.counts.data())]).toEqual(counts);
      expect([...(await limited.requested.data())]).toEqual([...(await r.requested.data())]);
    },
  );

  property.prop([records, fc.integer({ min: 1, max: 5 }), priorities], { numRuns: 40 })(
    "combine after dispatch gives each token the sum of the weights that were kept",
    async (r, capacity, priority) => {
      const limited = withCapacity(r, { capacity, priority });
      const x = randomTensor(1, [r.gates.shape[0], 2]);
      const back = await rowsOf(combine(dispatch(x, limited), limited));
      const [rows, weights] = [await rowsOf(x), await rowsOf(limited.weights)];
      rows.forEach((row, t) =>
        row.forEach((v, d) => expect(back[t][d]).toBeCloseTo(v * weights[t].reduce((a, b) => a + b, 0), 10)),
      );
    },
  );

  property.prop([records, priorities], { numRuns: 40 })("with room for all it changes nothing", async (r, priority) => {
    const limited = withCapacity(r, { capacity: Math.max(1, r.gates.shape[0]), priority });
    for (const field of ["experts", "weights", "gates", "counts", "offsets", "rows"] as const)
      expect({ [field]: await limited[field].toArray() }).toEqual({ [field]: await r[field].toArray() });
    expect((await limited.dropped.data()).some(Boolean)).toBe(false);
  });

  property.prop([records], { numRuns: 30 })("a random order fills the same places", async (r) => {
    const options = { capacity: 2, priority: "random" } as const;
    const counts = async (key: number) => [...(await withCapacity(r, options, random.key(key)).counts.data())];
    const wanted = [...(await withCapacity(r, { capacity: 2 }).counts.data())];
    expect(await counts(1)).toEqual(wanted);
    expect(await counts(2)).toEqual(wanted);
  });

  property.prop([routing({ ...drawn, dtype: "f32" }), priorities], { numRuns: 20 })(
    "drops the same pairs on every device",
    (r, priority) =>
      acrossDevices(
        (r) => {
          const { weights, counts, slots } = withCapacity(r, { capacityFactor: 0.75, priority });
          return [weights, counts, slots.token];
        },
        [r],
        { devices: ["cpu", "wasm"] },
      ),
  );

  const crowd = (tokens: number, k: number, mask?: Tensor) =>
    makeRouting({
      experts: tensor(
        Array.from({ length: tokens }, () => Array.from({ length: k }, (_, j) => j)),
        { shape: [tokens, k], dtype: "i32" },
      ),
      weights: tensor(new Array<number>(tokens * k).fill(0.5), { shape: [tokens, k] }),
      expertCount: 4,
      mask,
    });

  test.each<[CapacityConvention, factor: number, tokens: number, k: number, places: number]>([
    ["switch", 1.25, 10, 1, 3], // floor(3.125)
    ["switch", 1, 10, 2, 2], // floor(2.5): k does not count
    ["gshard", 1, 10, 2, 5],
    ["gshard", 1, 10, 1, 5], // always 2 T / E
    ["megablocks", 1.25, 10, 2, 6], // floor(6.25)
    ["megatron", 1.25, 10, 2, 7],
    ["megatron", 1.25, 8, 2, 5], // a whole number is not rounded up
    ["switch", 0.1, 10, 1, 1], // never none
  ])(
    "%s: a factor of %d for %d tokens with %d choices and 4 experts makes %d places",
    async (convention, capacityFactor, tokens, k, places) => {
      const { counts } = withCapacity(crowd(tokens, k), { capacityFactor, convention });
      expect((await counts.data())[0]).toBe(places);
    },
  );

  test("megatron rounds as Megatron-LM does, by the pairs of an expert times the factor", async () => {
    const r = makeRouting({ experts: zeros([50, 1], { dtype: "i32" }), weights: ones([50, 1]), expertCount: 5 });
    const { counts } = withCapacity(r, { capacityFactor: 1.1, convention: "megatron" });
    expect((await counts.data())[0]).toBe(11); // 50 / 5 · 1.1 is 11, where 1.1 · 50 / 5 is a little more
  });

  test("padding takes no place, and does not make room", async () => {
    const mask = tensor([true, true, true, true, false, false, false, false]);
    const limited = withCapacity(crowd(8, 1, mask), { capacityFactor: 2, convention: "switch" });
    expect([...(await limited.counts.data())]).toEqual([2, 0, 0, 0]); // 2 · 4 real tokens / 4 experts
    expect((await isTrue(limited.dropped)).flat()).toEqual([false, false, true, true, false, false, false, false]);
  });

  test("what a router has left out itself takes no place", async () => {
    const r = makeRouting({
      experts: tensor([[0], [0], [0]], { dtype: "i32" }),
      weights: tensor([[1], [1], [1]]),
      expertCount: 2,
      dropped: tensor([[true], [false], [false]]),
    });
    const limited = withCapacity(r, { capacity: 1 });
    expect((await isTrue(limited.dropped)).flat()).toEqual([true, false, true]);
    expect([...(await limited.requested.data())]).toEqual([3, 0]);
  });

  const crowded = { gate: randomTensor(1, [3, 4]).add(randomTensor(2, [1, 4])) };
  const layerWith = (how: "dropless" | "dense" | { capacity: number; priority?: CapacityPriority }) =>
    moe({ dim: 3, hidden: 4, experts: 4, router: softmaxTopK({ k: 2 }), activation: "silu", dispatch: how });
  const params = { router: crowded, experts: paramsOfExperts() };
  function paramsOfExperts() {
    return {
      w1: randomTensor(3, [4, 3, 4]),
      b1: randomTensor(4, [4, 4]),
      w2: randomTensor(5, [4, 4, 3]),
      b2: randomTensor(6, [4, 3]),
    };
  }

  test("a layer drops tokens visibly, and a token without any place comes out as zero", async () => {
    const x = randomTensor(7, [9, 3]);
    const { output, routing } = layerWith({ capacity: 2 }).apply(params, x);
    const [rows, gone] = [await rowsOf(output), await isTrue(routing.dropped)];
    const lost = gone.map((row) => row.every(Boolean));
    expect(lost.some(Boolean)).toBe(true);
    rows.forEach((row, t) => expect(row.every((v) => v === 0)).toBe(lost[t]));
  });

  test("the ledger says of a token without a place why its gradient is zero", async () => {
    const x = randomTensor(7, [9, 3]);
    const layer = layerWith({ capacity: 2 });
    const gone = await isTrue(layer.apply(params, x).routing.dropped);
    const token = gone.findIndex((row) => row.every(Boolean));
    const book = await ledger((rest: { x: Tensor }) => layer.apply(params, rest.x).output.square().sum())({ x });
    const entry = book.of("x", [token, 0]);
    expect(await entry.total.item()).toBe(0);
    expect(entry.why?.map(({ reason }) => reason)).toContain("dropped");
  });

  test("a layer of capacity equals the dense one under the gates that were kept", async () => {
    const x = randomTensor(7, [9, 3]);
    const { output, routing } = layerWith({ capacity: 2, priority: "gate" }).apply(params, x);
    const every = await Promise.all(
      [0, 1, 2, 3].map(async (e) => {
        const one = { ...params.experts };
        const alone = makeRouting({
          experts: tensor(new Array<number>(9).fill(e), { shape: [9, 1], dtype: "i32" }),
          weights: tensor(new Array<number>(9).fill(1), { shape: [9, 1], dtype: "f64" }),
          expertCount: 4,
        });
        const forcedLayer = moe({
          dim: 3,
          hidden: 4,
          experts: 4,
          router: { init: () => ({}), route: () => alone },
          activation: "silu",
        });
        return rowsOf(forcedLayer.apply({ router: {}, experts: one }, x).output);
      }),
    );
    const gates = await rowsOf(routing.gates);
    (await rowsOf(output)).forEach((row, t) =>
      row.forEach((v, d) =>
        expect(v).toBeCloseTo(
          [0, 1, 2, 3].reduce((s, e) => s + gates[t][e] * every[e][t][d], 0),
          10,
        ),
      ),
    );
  });

  test("gradients with dropped tokens are those of finite differences, to second order", () =>
    checkGrads(
      (p: typeof params, x: Tensor) =>
        layerWith({ capacity: 2, priority: "choice" }).apply(p, x).output.square().mean(),
      [params, randomTensor(7, [6, 3])],
    ));
});
