import { fc, test as property } from "@fast-check/vitest";
import { checkGrads, grad, treeLeaves, treeMap } from "@switchyard/autograd";
import { ConfigError, init, random, ShapeError, tensor, zeros, type Tensor } from "@switchyard/tensor";
import { topologicalOrder } from "@switchyard/tensor/graph";
import {
  experts,
  forced,
  importanceLoss,
  loadLoss,
  makeRouting,
  moe,
  noisyTopK,
  softmaxTopK,
  switchLoss,
  zLoss,
  type Activation,
  type ExpertsParams,
  type MoeParams,
} from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { mixture, numbers, randomTensor, rowsOf, type ExpertArrays } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [D, H] = [3, 4];

/** Parameters in f64 with random numbers everywhere, biases too. */
const paramsOf = (experts: number, activation: Activation = "relu") => ({
  router: { gate: randomTensor(1, [D, experts]) },
  experts: {
    w1: randomTensor(2, [experts, D, H]),
    b1: randomTensor(3, [experts, H]),
    w2: randomTensor(4, [experts, H, D]),
    b2: randomTensor(5, [experts, D]),
    ...(activation === "swiglu" && { w3: randomTensor(6, [experts, D, H]) }),
  } as ExpertsParams,
});
const arraysOf = async (p: ExpertsParams): Promise<ExpertArrays> =>
  Object.fromEntries(
    await Promise.all(Object.entries(p).map(async ([name, t]) => [name, await (t as Tensor).toArray()])),
  );

const isZero = async (t: Tensor): Promise<boolean> => [...(await t.data())].every((v) => v === 0);

async function expectClose(a: unknown, b: unknown, digits = 10): Promise<void> {
  const [left, right] = [treeLeaves(a), treeLeaves(b)];
  expect(left.map((t) => t.shape)).toEqual(right.map((t) => t.shape));
  for (const [i, t] of left.entries()) {
    const wanted = await right[i].data();
    (await t.data()).forEach((v, at) => expect(v).toBeCloseTo(wanted[at], digits));
  }
}

const shapes = fc
  .record({
    experts: fc.integer({ min: 1, max: 5 }),
    k: fc.integer({ min: 1, max: 5 }),
    tokens: fc.integer({ min: 0, max: 7 }),
    activation: fc.constantFrom<Activation>("relu", "gelu", "silu", "swiglu"),
    masked: fc.boolean(),
    seed: fc.nat({ max: 99 }),
  })
  .filter(({ k, experts }) => k <= experts);

const maskOf = (seed: number, tokens: number): Tensor<"bool"> =>
  tensor(
    numbers(seed, tokens).map((v) => v > -0.5),
    { shape: [tokens], dtype: "bool" },
  );

describe("moe", () => {
  property.prop([shapes], { numRuns: 60 })(
    "the output is the weighted sum of each token's experts, dropless and dense",
    async ({ experts, k, tokens, activation, masked, seed }) => {
      const params = paramsOf(experts, activation);
      const x = randomTensor(seed, [tokens, D]);
      const mask = masked ? maskOf(seed, tokens) : undefined;
      for (const dispatch of ["dropless", "dense"] as const) {
        const layer = moe({ dim: D, hidden: H, experts, router: softmaxTopK({ k }), activation, dispatch });
        const { output, routing } = layer.apply(params, x, { mask });
        const wanted = mixture(
          await arraysOf(params.experts),
          await rowsOf(x),
          await rowsOf(routing.experts),
          await rowsOf(routing.weights),
          activation,
          mask && [...(await mask.data())].map(Boolean),
        );
        const got = await rowsOf(output);
        wanted.forEach((row, t) => row.forEach((v, d) => expect(got[t][d]).toBeCloseTo(v, 10)));
      }
    },
  );

  property.prop([shapes], { numRuns: 40 })(
    "dropless and dense have the same gradients",
    async ({ experts, k, tokens, activation, masked, seed }) => {
      const params = paramsOf(experts, activation);
      const x = randomTensor(seed, [tokens, D]);
      const mask = masked ? maskOf(seed, tokens) : undefined;
      const readout = randomTensor(seed + 1, [tokens, D]);
      const gradients = (dispatch: "dropless" | "dense") => {
        const layer = moe({
          dim: D,
          hidden: H,
          experts,
          router: softmaxTopK({ k, renormalize: false }),
          activation,
          dispatch,
        });
        return grad(([p, x]: [typeof params, Tensor]) => layer.apply(p, x, { mask }).output.mul(readout).sum())([
          params,
          x,
        ]);
      };
      await expectClose(gradients("dropless"), gradients("dense"));
    },
  );

  test("the gradients of parameters and input are those of finite differences, to second order, with every loss on", async () => {
    const layer = moe({
      dim: D,
      hidden: H,
      experts: 3,
      router: noisyTopK({ k: 2 }),
      activation: "swiglu",
      losses: {
        importance: (r) => importanceLoss(r, { weight: 0.1 }),
        load: (r) => loadLoss(r, { weight: 0.1 }),
        switch: (r) => switchLoss(r, { weight: 0.1 }),
        z: (r) => zLoss(r.logits, { mask: r.mask, weight: 0.1 }),
      },
    });
    const params = {
      ...paramsOf(3, "swiglu"),
      router: { gate: randomTensor(1, [D, 3]), noise: randomTensor(7, [D, 3]) },
    };
    await checkGrads(
      (p: typeof params, x: Tensor, noise: Tensor, mask: Tensor) => {
        const { output, balance } = layer.apply(p, x, { train: true, noise, mask });
        return output.square().mean().add(balance);
      },
      [params, randomTensor(8, [5, D]), randomTensor(9, [5, 3]), tensor([true, true, false, true, true])],
    );
  });

  property.prop([fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 })], { numRuns: 20 })(
    "tokens in another order give the same outputs in that order",
    async (order) => {
      const layer = moe({ dim: D, hidden: H, experts: 4, router: softmaxTopK({ k: 2 }) });
      const x = randomTensor(10, [6, D]);
      const apply = (x: Tensor) => layer.apply(paramsOf(4), x).output;
      await expectClose(apply(x.gather(order)), apply(x).gather(order), 12);
    },
  );

  property.prop([fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 })], { numRuns: 20 })(
    "experts under other numbers give the same output",
    async (order) => {
      const layer = moe({ dim: D, hidden: H, experts: 4, router: softmaxTopK({ k: 2 }) });
      const x = randomTensor(10, [6, D]);
      const params = paramsOf(4);
      const renamed = {
        router: { gate: params.router.gate.gather(order, 1) },
        experts: treeMap((t) => t.gather(order), params.experts),
      };
      await expectClose(layer.apply(renamed, x).output, layer.apply(params, x).output, 12);
    },
  );

  test("experts that are all alike are one dense feed-forward network", async () => {
    const one = paramsOf(1).experts;
    const alike = { router: paramsOf(4).router, experts: treeMap((t) => t.gather([0, 0, 0, 0]), one) };
    const x = randomTensor(11, [6, D]);
    const layer = moe({ dim: D, hidden: H, experts: 4, router: softmaxTopK({ k: 3 }) });
    const plain = x.matmul(one.w1.squeeze(0)).add(one.b1!).relu().matmul(one.w2.squeeze(0)).add(one.b2!);
    await expectClose(layer.apply(alike, x).output, plain, 12);
  });

  test("shared experts add one dense network of their total width, but nothing to padding", async () => {
    const layer = moe({ dim: D, hidden: H, experts: 3, router: softmaxTopK({ k: 2 }), sharedExperts: 2 });
    const params = {
      ...paramsOf(3),
      shared: treeMap((t) => randomTensor(30, t.shape), layer.init(random.key(0)).shared!),
    };
    expect(params.shared.w1.shape).toEqual([D, 2 * H]);
    const x = randomTensor(17, [5, D]);
    const mask = tensor([true, true, true, false, true]);
    const routed = moe({ dim: D, hidden: H, experts: 3, router: softmaxTopK({ k: 2 }) }).apply(params, x, { mask });
    const { w1, b1, w2, b2 } = params.shared;
    const dense = x.matmul(w1).add(b1!).relu().matmul(w2).add(b2!);
    const wanted = routed.output.add(dense.mul(tensor([1, 1, 1, 0, 1], { dtype: "f64" }).expandDims(1)));
    await expectClose(layer.apply(params, x, { mask }).output, wanted, 12);
    await checkGrads((p: typeof params, x: Tensor) => layer.apply(p, x, { mask }).output.square().mean(), [params, x]);
  });

  test("expert dropout zeroes values inside the experts in training, and keeps their mean", async () => {
    const routing = makeRouting({
      experts: tensor(new Array<number>(4000).fill(0), { shape: [4000, 1], dtype: "i32" }),
      weights: tensor(new Array<number>(4000).fill(1), { shape: [4000, 1] }),
      expertCount: 1,
    });
    const layer = moe({ dim: 1, hidden: 1, experts: 1, router: forced(routing), bias: false, expertDropout: 0.4 });
    const params = { router: {}, experts: { w1: tensor([[[1]]]), w2: tensor([[[1]]]) } };
    const x = tensor(new Array<number>(4000).fill(3), { shape: [4000, 1] });
    const outputs = async (options: object) => [...(await layer.apply(params, x, options).output.data())];
    expect(new Set(await outputs({ key: random.key(1) }))).toEqual(new Set([3])); // in evaluation, none
    const drawn = await outputs({ train: true, key: random.key(1) });
    expect(drawn.filter((v) => v === 0).length / 4000).toBeCloseTo(0.4, 1);
    expect(drawn.filter((v) => v !== 0).every((v) => Math.abs(v - 5) < 1e-5)).toBe(true);
    expect(() => layer.apply(params, x, { train: true })).toThrow(
      "moe: expert dropout is drawn in training and needs a key",
    );
  });

  test("a single expert is a dense feed-forward network, and its router gets gradient zero", async () => {
    const params = paramsOf(1);
    const { w1, b1, w2, b2 } = params.experts;
    const x = randomTensor(12, [6, D]);
    const layer = moe({ dim: D, hidden: H, experts: 1, router: softmaxTopK({ k: 1 }) });
    const plain = x.matmul(w1.squeeze(0)).add(b1!).relu().matmul(w2.squeeze(0)).add(b2!);
    await expectClose(layer.apply(params, x).output, plain, 12);
    expect(await isZero(grad((p: typeof params) => layer.apply(p, x).output.sum())(params).router.gate)).toBe(true);
  });

  test("the gate multiplies the expert's output, not its input", async () => {
    const routing = makeRouting({ experts: tensor([[0]], { dtype: "i32" }), weights: tensor([[0.5]]), expertCount: 1 });
    const layer = moe({ dim: 1, hidden: 1, experts: 1, router: forced(routing) });
    const experts = { w1: tensor([[[1]]]), b1: tensor([[-1]]), w2: tensor([[[1]]]), b2: tensor([[4]]) };
    expect(await layer.apply({ router: {}, experts }, tensor([[3]])).output.item()).toBe(3); // not relu(1.5 - 1) + 4
  });

  test("an expert without tokens has gradients of exactly zero, every other moves", async () => {
    const gate = tensor([[1, 2, -9, 3]], { dtype: "f64" }).broadcastTo([D, 4]);
    const params = { ...paramsOf(4, "silu"), router: { gate } };
    const x = randomTensor(13, [8, D]).abs().add(0.1);
    const layer = moe({ dim: D, hidden: H, experts: 4, router: softmaxTopK({ k: 3 }), activation: "silu" });
    expect([...(await layer.apply(params, x).routing.counts.data())]).toEqual([8, 8, 0, 8]);
    const g = grad((p: typeof params) => layer.apply(p, x).output.square().sum())(params);
    for (const t of treeLeaves(g.experts)) for (let e = 0; e < 4; e++) expect(await isZero(t.slice(e))).toBe(e === 2);
  });

  test("padding changes nothing: not the outputs of others, not the losses, not a gradient", async () => {
    const layer = moe({
      dim: D,
      hidden: H,
      experts: 4,
      router: noisyTopK({ k: 2 }),
      losses: {
        importance: (r) => importanceLoss(r),
        load: (r) => loadLoss(r),
        switch: (r) => switchLoss(r),
        z: (r) => zLoss(r.logits, { mask: r.mask }),
      },
    });
    const params = { ...paramsOf(4), router: { gate: randomTensor(1, [D, 4]), noise: randomTensor(7, [D, 4]) } };
    const [x, noise] = [randomTensor(14, [5, D]), randomTensor(15, [5, 4])];
    const padded = (t: Tensor) =>
      t.pad(
        [
          [0, 3],
          [0, 0],
        ],
        50,
      );
    const mask = tensor([true, true, true, true, true, false, false, false]);
    const all = (x: Tensor, options: object) =>
      grad(([p, x]: [typeof params, Tensor]) => {
        const { output, balance } = layer.apply(p, x, { train: true, ...options });
        return output.square().sum().add(balance);
      })([params, x]);
    const alone = layer.apply(params, x, { train: true, noise });
    const among = layer.apply(params, padded(x), { train: true, noise: padded(noise), mask });
    await expectClose(among.output.slice([0, 5]), alone.output, 12);
    await expectClose(among.losses, alone.losses, 12);
    await expectClose(among.routing.counts, alone.routing.counts);
    expect(await isZero(among.output.slice([5]))).toBe(true);
    const [g, gPadded] = [all(x, { noise }), all(padded(x), { noise: padded(noise), mask })];
    await expectClose(gPadded[0], g[0]);
    expect(await isZero(gPadded[1].slice([5]))).toBe(true);
  });

  test.each(["dropless", "dense", { capacity: 2 }] as const)(
    "padding of NaN changes no output and no gradient, %s",
    async (dispatch) => {
      const layer = moe({ dim: D, hidden: H, experts: 3, router: softmaxTopK({ k: 2 }), dispatch, sharedExperts: 1 });
      const params = layer.init(random.key(0));
      const x = tensor([
        [1, 2, 3],
        [NaN, NaN, Infinity],
        [-1, 0, 2],
      ]);
      const mask = tensor([true, false, true]);
      const all = (x: Tensor) =>
        grad(([p, x]: [typeof params, Tensor]) => layer.apply(p, x, { mask }).output.square().sum())([params, x]);
      const zeroed = x.where(mask.expandDims(1), 0);
      await expectClose(layer.apply(params, x, { mask }).output, layer.apply(params, zeroed, { mask }).output);
      await expectClose(all(x), all(zeroed));
    },
  );

  test("a batch that is all padding gives zeros, and losses without NaN", async () => {
    const layer = moe({
      dim: D,
      hidden: H,
      experts: 3,
      router: noisyTopK({ k: 1 }),
      losses: { i: (r) => importanceLoss(r), l: (r) => loadLoss(r), s: (r) => switchLoss(r) },
    });
    const { output, balance } = layer.apply(layer.init(random.key(0)), zeros([2, D]), {
      train: true,
      key: random.key(1),
      mask: tensor([false, false]),
    });
    expect(await isZero(output)).toBe(true);
    expect(await balance.item()).toBe(0);
  });

  test("all leading axes are tokens, of the mask too", async () => {
    const layer = moe({ dim: D, hidden: H, experts: 3, router: softmaxTopK({ k: 2 }) });
    const x = randomTensor(16, [2, 3, D]);
    const mask = tensor([
      [true, false, true],
      [true, true, false],
    ]);
    const flat = layer.apply(paramsOf(3), x.reshape([6, D]), { mask: mask.reshape([6]) }).output;
    const { output, routing } = layer.apply(paramsOf(3), x, { mask });
    expect(routing.experts.shape).toEqual([6, 2]);
    await expectClose(output, flat.reshape([2, 3, D]), 15);
    await expectClose(
      layer.apply(paramsOf(3), x.slice(0, 0), { mask: mask.slice(0, 0) }).output,
      output.slice(0, 0),
      12,
    );
  });

  test("each loss is a term of its own name, and balance is their sum", async () => {
    const layer = moe({
      dim: D,
      hidden: H,
      experts: 3,
      router: softmaxTopK({ k: 2 }),
      losses: { importance: (r) => importanceLoss(r), z: (r) => zLoss(r.logits) },
    });
    const { losses, balance, routing } = layer.apply(paramsOf(3), randomTensor(17, [4, D]));
    expect(await losses.importance.item()).toBe(await importanceLoss(routing).item());
    expect(await balance.item()).toBeCloseTo((await losses.importance.item()) + (await losses.z.item()), 12);
    const terms = topologicalOrder([balance.node]).flatMap((n) =>
      n.op === "tag" && n.attrs.kind === "term" ? [n.attrs.name] : [],
    );
    expect(terms).toEqual(["importance", "z"]);
  });

  test("without losses balance is zero", async () => {
    const layer = moe({ dim: D, hidden: H, experts: 3, router: softmaxTopK({ k: 2 }) });
    const { losses, balance } = layer.apply(paramsOf(3), randomTensor(17, [4, D]));
    expect(losses).toEqual({});
    expect(await balance.item()).toBe(0);
  });

  test("the same key gives the same parameters, and serves router and experts by a part of its own each", async () => {
    const sizes = { dim: 4, hidden: 4, experts: 4 };
    const router = softmaxTopK({ k: 1 });
    const layer = moe({ ...sizes, router });
    const key = random.key(3);
    const params = layer.init(key);
    await expectClose(params, layer.init(random.key(3)), 15);
    expect(await params.router.gate.data()).not.toEqual(await router.init(key, sizes).gate.data());
    expect(await params.experts.w1.data()).not.toEqual(await experts(sizes).init(key).w1.data());
  });

  test("a whole training step has no scatter that must sort: every one is unique or sorted", () => {
    const layer = moe({
      dim: D,
      hidden: H,
      experts: 4,
      router: noisyTopK({ k: 2 }),
      activation: "swiglu",
      losses: { i: (r) => importanceLoss(r), l: (r) => loadLoss(r), s: (r) => switchLoss(r) },
    });
    const params = layer.init(random.key(0));
    const x = randomTensor(18, [6, D]).cast("f32");
    const g = grad((p: MoeParams<{ gate: Tensor; noise: Tensor }>) => {
      const { output, balance } = layer.apply(p, x, { train: true, key: random.key(1), mask: maskOf(1, 6) });
      return output.square().sum().add(balance);
    })(params);
    const scatters = topologicalOrder(treeLeaves(g).map((t) => t.node)).flatMap((n) =>
      n.op === "scatter" ? [n.attrs] : [],
    );
    expect(scatters.length).toBeGreaterThan(0);
    for (const { unique, sorted } of scatters) expect(unique || sorted).toBe(true);
  });

  test("options that are unknown or out of range are refused, each by name", () => {
    const good = { dim: D, hidden: H, experts: 3, router: softmaxTopK({ k: 2 }) };
    expect(() => moe({ ...good, expert: 3 } as typeof good)).toThrow(
      /moe: unknown option "expert"; options are dim, hidden, /,
    );
    expect(() => moe({ ...good, hidden: -4 })).toThrow("moe: hidden must be a positive integer, got -4");
    expect(() => moe({ ...good, dispatch: "sparse" as "dense" })).toThrow(
      /dispatch must be one of "dropless", "dense"/,
    );
    expect(() => moe({ dim: D, hidden: H, experts: 3 } as typeof good)).toThrow('moe: needs the option "router"');
    expect(() => moe({ ...good, experts: 1 }).init(random.key(0))).toThrow(ConfigError);
    expect(() => moe(good).apply(paramsOf(3), randomTensor(1, [2, D + 1]))).toThrow(ShapeError);
    expect(() => moe(good).apply(paramsOf(4), randomTensor(1, [2, D]))).toThrow(
      /routes to 4 experts but the layer has 3/,
    );
    expect(() => moe(good).apply(paramsOf(3), randomTensor(1, [2, D]), { mask: tensor([1, 0]) })).toThrow(
      /mask must be bool/,
    );
  });
});
