import {
  concat,
  ConfigError,
  DTypeError,
  init,
  random,
  ShapeError,
  tensor,
  zeros,
  type Tensor,
} from "@switchyard/tensor";
import { treeLeaves, treePaths, valueAndGrad } from "@switchyard/autograd";
import { topologicalOrder } from "@switchyard/tensor/graph";
import { hashRouter, softmaxTopK, transformer, zLoss, type TransformerOptions } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { numbers } from "../oracle.ts";

beforeAll(() => init("cpu"));

const sizes = { vocab: 7, dim: 8, layers: 2, heads: 2, hidden: 12, context: 6 } as const;
const tiny = (options: Partial<TransformerOptions> = {}) =>
  transformer({ ...sizes, moe: { experts: 3, k: 2 }, ...options });
const tokensOf = (seed: number, shape: [number, number]): Tensor =>
  tensor(
    numbers(seed, shape[0] * shape[1]).map((x) => Math.floor(Math.abs(x * 100)) % 7),
    { shape, dtype: "i32" },
  );
const batchOf = () => ({ tokens: tokensOf(1, [3, 6]), targets: tokensOf(2, [3, 6]) });
const training = () => ({ train: true, key: random.key(1) });

describe("transformer", () => {
  test("its parameters have the paths that tools read", () => {
    const paths = treePaths(tiny({ moeEvery: 2, norm: "layer" }).init(random.key(0)));
    expect(paths.filter((path) => path.startsWith("layers.1."))).toEqual([
      "layers.1.attentionNorm.scale",
      "layers.1.attentionNorm.shift",
      "layers.1.attention.qkv",
      "layers.1.attention.out",
      "layers.1.norm.scale",
      "layers.1.norm.shift",
      "layers.1.moe.router.gate",
      "layers.1.moe.router.noise",
      "layers.1.moe.experts.w1",
      "layers.1.moe.experts.b1",
      "layers.1.moe.experts.w2",
      "layers.1.moe.experts.b2",
    ]);
    expect(paths).toContain("layers.0.feedForward.w1");
    expect(paths).toContain("head.weight");
  });

  test("moeEvery counts from the last layer, and null is no mixture at all", () => {
    const sparse = (options: Partial<TransformerOptions>) =>
      tiny(options)
        .init(random.key(0))
        .layers.map((layer) => layer.moe !== undefined);
    expect(sparse({})).toEqual([true, true]);
    expect(sparse({ moeEvery: 2 })).toEqual([false, true]);
    expect(sparse({ layers: 5, moeEvery: 2 })).toEqual([true, false, true, false, true]);
    expect(sparse({ moe: null })).toEqual([false, false]);
  });

  test("the loss is the cross-entropy and the balance, which is the sum of the losses of all layers", async () => {
    const model = tiny();
    const { loss, crossEntropy, balance, losses, routings } = model.loss(
      model.init(random.key(0)),
      batchOf(),
      training(),
    );
    const [total, entropy, sum, importance, load] = await Promise.all(
      [loss, crossEntropy, balance, losses.importance, losses.load].map((t) => t.item()),
    );
    expect(Object.keys(losses)).toEqual(["importance", "load"]);
    expect(total).toBeCloseTo(entropy + sum, 5);
    expect(sum).toBeCloseTo(importance + load, 5);
    expect(sum).toBeGreaterThan(0);
    expect(routings.length).toBe(2);
  });

  test("before training, no token is favoured: the cross-entropy is about ln V", async () => {
    const model = tiny();
    const { crossEntropy } = model.loss(model.init(random.key(0)), batchOf(), training());
    expect(Math.abs((await crossEntropy.item()) - Math.log(7))).toBeLessThan(0.15);
  });

  test("without mixtures there is no balance", async () => {
    const model = tiny({ moe: null });
    const { balance, losses, routings } = model.apply(model.init(random.key(0)), tokensOf(1, [1, 2]));
    expect([await balance.item(), losses, routings]).toEqual([0, {}, []]);
  });

  test("a router of your own brings its parameters, and only the losses that you give", () => {
    const moe = {
      experts: 3,
      router: softmaxTopK({ k: 1 }),
      losses: { z: (r: { logits: Tensor }) => zLoss(r.logits) },
    };
    const model = transformer({ ...sizes, moe });
    const params = model.init(random.key(0));
    expect(params.layers[0].moe!.router.gate.shape).toEqual([8, 3]);
    expect(Object.keys(model.apply(params, tokensOf(1, [1, 2])).losses)).toEqual(["z"]);
  });

  test("a router by token ids is told them, in one pass and step by step, and trains", async () => {
    const model = transformer({ ...sizes, moe: { experts: 5, router: hashRouter({ k: 2 }) } });
    const params = model.init(random.key(0));
    const tokens = tokensOf(1, [2, 4]);
    const wanted = hashRouter({ k: 2 }).route({ experts: 5 }, zeros([8, 1]), { tokenIds: tokens.reshape([8]) });
    const { logits, routings } = model.apply(params, tokens);
    for (const { experts } of routings) expect(await experts.toArray()).toEqual(await wanted.experts.toArray());
    let cache = model.start(params, 2);
    for (let i = 0; i < 4; i++) {
      const made = model.step(params, tokens.slice([], [i, i + 1]), cache);
      expect(
        await made.logits
          .sub(logits.slice([], [i, i + 1]))
          .abs()
          .max()
          .item(),
      ).toBeLessThan(1e-5);
      cache = made.cache;
    }
    const [{ loss }, grads] = valueAndGrad((p: typeof params) => model.loss(p, batchOf(), training()))(params);
    expect(await loss.item()).toBeGreaterThan(0);
    expect(grads.layers[0].moe!.router).toEqual({ experts: 5 });
  });

  test("the first layers may be dense, and experts may have a width of their own", () => {
    const model = tiny({ layers: 3, denseLayers: 1, moe: { experts: 3, k: 2, hidden: 5 } });
    const { layers } = model.init(random.key(0));
    expect(layers.map((layer) => layer.moe?.experts.w1.shape)).toEqual([undefined, [3, 8, 5], [3, 8, 5]]);
    expect(layers[0].feedForward!.w1.shape).toEqual([8, 12]);
  });

  test("a later token changes nothing before it", async () => {
    const model = tiny();
    const params = model.init(random.key(0));
    const logits = async (last: number) => {
      const tokens = tensor([1, 2, 3, last], { shape: [1, 4], dtype: "i32" });
      return (await model.apply(params, tokens).logits.toArray()) as number[][][];
    };
    const [before, after] = [await logits(4), await logits(5)];
    expect(after[0].slice(0, 3)).toEqual(before[0].slice(0, 3));
    expect(after[0][3]).not.toEqual(before[0][3]);
  });

  test.each<[string, Partial<TransformerOptions>]>([
    ["rotary positions", {}],
    ["learned positions", { rope: false }],
    ["a base of its own, layer norm and swiglu", { rope: 50.5, norm: "layer", activation: "swiglu" }],
    ["tied ends and shared keys", { tie: true, kvHeads: 1 }],
  ])("with %s, every parameter gets a gradient, and a cache is the whole pass", async (_, options) => {
    const model = tiny(options);
    const params = model.init(random.key(0));
    const [{ loss }, grads] = valueAndGrad((p: typeof params) => model.loss(p, batchOf(), training()))(params);
    const paths = treePaths(grads);
    const norms = await Promise.all([...treeLeaves(grads).map((g) => g.norm().item()), loss.item()]);
    for (const [i, path] of paths.entries()) if (norms[i] === 0) expect(path).toBe("no gradient");

    const tokens = tokensOf(3, [2, 6]);
    const whole = await model.apply(params, tokens).logits.data();
    let cache = model.start(params, 2);
    const parts: Tensor[] = [];
    for (const [from, to] of [
      [0, 3],
      [3, 4],
      [4, 6],
    ]) {
      const { logits, cache: next } = model.step(params, tokens.slice([], [from, to]), cache);
      parts.push(logits);
      cache = next;
    }
    const cached = await concat(parts, 1).data();
    for (const [i, y] of cached.entries()) expect(y).toBeCloseTo(whole[i], 4);
    expect(await cache.position.item()).toBe(6);
  });

  test("tied ends are one table", () => {
    const params = tiny({ tie: true }).init(random.key(0));
    expect(params.head).toBeUndefined();
  });

  test("operations carry the scope they were written in", () => {
    const model = tiny();
    const { loss } = model.loss(model.init(random.key(0)), batchOf(), training());
    const scopes = new Set(topologicalOrder([loss.node]).map((node) => node.provenance.scope));
    for (const name of ["embedding", "layers.0/attention", "layers.1/moe/router", "layers.1/moe/experts", "head"])
      expect(scopes).toContain(name);
  });

  test.each<[string, () => unknown, new () => Error, RegExp]>([
    [
      "a sequence longer than the context",
      () => run(tokensOf(1, [1, 7])),
      ShapeError,
      /at most 6 tokens, the context \(got i32\[1,7\]\)/,
    ],
    ["an empty batch", () => run(tokensOf(1, [0, 3])), ShapeError, /at least one token/],
    ["tokens that are no batch", () => run(tensor([1, 2], { dtype: "i32" })), ShapeError, /must be \[batch, steps\]/],
    ["tokens that are floats", () => run(tensor([[1, 2]])), DTypeError, /tokens must be i32/],
    ["more choices than experts", () => tiny({ moe: { experts: 2, k: 3 } }).init(random.key(0)), ConfigError, /3/],
    ["neither k nor a router", () => tiny({ moe: { experts: 2 } }), ConfigError, /moe needs k/],
    ["an unknown option", () => tiny({ depth: 3 } as never), ConfigError, /unknown option "depth"/],
    ["heads that do not divide", () => tiny({ heads: 3 }), ConfigError, /heads must divide dim/],
    ["a rope that is no base", () => tiny({ rope: -0.5 }), ConfigError, /transformer: rope must be true, false or a/],
    ["an endless rope", () => tiny({ rope: Infinity }), ConfigError, /transformer: rope must be true, false or a/],
    ["no layers", () => tiny({ layers: 0 }), ConfigError, /layers must be a positive integer/],
  ])("%s is an error that says so", (_, act, kind, message) => {
    expect(act).toThrow(kind);
    expect(act).toThrow(message);
  });
});

function run(tokens: Tensor): unknown {
  const model = tiny();
  return model.apply(model.init(random.key(0)), tokens);
}
