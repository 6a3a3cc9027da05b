import { treeMap } from "@switchyard/autograd";
import { init, random, tensor } from "@switchyard/tensor";
import { feedForward, moe, softmaxTopK, transformer, upcycle, type Activation } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [D, H, E] = [3, 4, 4];

describe("upcycle", () => {
  test.each<[Activation, number]>([
    ["relu", 1],
    ["gelu", 2],
    ["swiglu", 4],
  ])("experts that copy a dense %s network, %d of them chosen, are that network", async (activation, k) => {
    const network = feedForward({ dim: D, hidden: H, activation });
    let seed = 40;
    const dense = treeMap((t) => randomTensor(seed++, t.shape), network.init(random.key(0)));
    const layer = moe({ dim: D, hidden: H, experts: E, router: softmaxTopK({ k, renormalize: true }), activation });
    const x = randomTensor(1, [6, D]);
    const params = { router: { gate: randomTensor(2, [D, E]) }, experts: upcycle(dense, { experts: E }) };
    const wanted = await network.apply(dense, x).data();
    (await layer.apply(params, x).output.data()).forEach((v, i) => expect(v).toBeCloseTo(wanted[i], 12));
  });

  test("with one choice of weight 1 the output is the dense one's to the last bit, in f32 on wasm", async () => {
    const network = feedForward({ dim: 16, hidden: 32 });
    const dense = treeMap((t) => t.to("wasm"), network.init(random.key(3)));
    const layer = moe({ dim: 16, hidden: 32, experts: E, router: softmaxTopK({ k: 1, renormalize: true }) });
    const x = random.normal(random.key(1), [40, 16]).to("wasm");
    const gate = random.normal(random.key(2), [16, E]).to("wasm");
    const { output } = layer.apply({ router: { gate }, experts: upcycle(dense, { experts: E }) }, x);
    expect([...(await output.data())]).toEqual([...(await network.apply(dense, x).data())]);
  });

  test("a dense transformer whose networks are upcycled is the same model", async () => {
    const sizes = { vocab: 7, dim: 8, layers: 2, heads: 2, hidden: 12, context: 5, activation: "swiglu" as const };
    const dense = transformer({ ...sizes, moe: null });
    const router = softmaxTopK({ k: 2 });
    const sparse = transformer({ ...sizes, moe: { experts: E, router } });
    const trained = dense.init(random.key(0));
    const params: ReturnType<typeof sparse.init> = {
      ...trained,
      layers: trained.layers.map(({ feedForward: network, ...rest }, i) => ({
        ...rest,
        moe: {
          router: router.init(random.key(i), { dim: 8, experts: E }),
          experts: upcycle(network!, { experts: E }),
        },
      })),
    };
    const tokens = tensor([[1, 2, 3, 4, 5]], { dtype: "i32" });
    const wanted = await dense.apply(trained, tokens).logits.data();
    (await sparse.apply(params, tokens).logits.data()).forEach((v, i) => expect(v).toBeCloseTo(wanted[i], 6));
  });

  test("noise scales each weight of each expert by itself, and leaves biases alone", async () => {
    const network = feedForward({ dim: 40, hidden: 50 });
    const dense = network.init(random.key(0));
    const { w1, b1 } = upcycle(dense, { experts: 2, noise: 0.1, key: random.key(1) });
    const factors = [...(await w1.div(dense.w1).sub(1).data())];
    const deviation = Math.sqrt(factors.reduce((s, v) => s + v * v, 0) / factors.length);
    expect(deviation).toBeCloseTo(0.1, 2);
    expect(await w1.slice(0).sub(w1.slice(1)).abs().max().item()).toBeGreaterThan(0.01);
    expect(await b1!.sub(dense.b1!).abs().max().item()).toBe(0);
    expect(() => upcycle(dense, { experts: 2, noise: 0.1 })).toThrow("upcycle: noise is drawn and needs a key");
  });
});
