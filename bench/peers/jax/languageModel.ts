import { blockUntilReady, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { drawIntegers } from "../../runner/random.ts";
import type { StepSizes, TaskMakers } from "../../tasks.ts";
import { languageModelParameters, streamOfBatch } from "../parameters.ts";
import { mixtureLayer } from "./mixture.ts";
import { drawn, type JaxArray } from "./ready.ts";

type Params = { [name: string]: JaxArray };

/** The language model of `../switchyard/languageModel.ts`, its dense parts and its update compiled. */
function build(sizes: StepSizes, seed: number) {
  const { vocab, dim, layers, heads, context, batch, k } = sizes;
  const width = dim / heads;
  const drawnParams = languageModelParameters(sizes).map(({ name, shape, scale }, i) => [
    name,
    drawn([...shape], seed, i, scale),
  ]);
  const norms = Array.from({ length: layers }, (_, i) => [`layers.${i}.attentionNorm`, `layers.${i}.norm`]);
  const scales = [...norms.flat(), "norm"].map((name) => [name, np.ones([dim])]);
  let params = Object.fromEntries([...drawnParams, ...scales]) as Params;
  let means = tree.map((x: JaxArray) => np.zerosLike(x.ref), params) as Params;
  let variances = tree.map((x: JaxArray) => np.zerosLike(x.ref), params) as Params;

  const angles = Float32Array.from(
    { length: context * (width / 2) },
    (_, i) => Math.floor(i / (width / 2)) * 10_000 ** ((-2 * (i % (width / 2))) / width),
  );
  const rotate = (x: JaxArray): JaxArray => {
    const angle = np.array(angles, { shape: [context, width / 2] });
    const [a, b] = np.split(x, 2, -1);
    const [cos, sin] = [np.cos(angle.ref), np.sin(angle)];
    const first = a.ref.mul(cos.ref).sub(b.ref.mul(sin.ref));
    return np.concatenate([first, b.mul(cos).add(a.mul(sin))], -1);
  };
  const normed = (x: JaxArray, scale: JaxArray): JaxArray => {
    const size = np.sqrt(np.square(x.ref).mean(-1, { keepdims: true }).add(1e-5));
    return x.div(size).mul(scale);
  };
  /** `[B·S, D] -> [B·S, D]`, what it adds to included. */
  const attention = jit((x: JaxArray, scale: JaxArray, qkv: JaxArray, out: JaxArray): JaxArray => {
    const parts = np.split(np.matmul(normed(x.ref, scale), qkv), 3, -1);
    const [q, key, v] = parts.map((t) => t.reshape([batch, context, heads, width]).transpose([0, 2, 1, 3]));
    const future = np.triu(np.ones([context, context]), 1).mul(-1e9);
    const scores = np
      .matmul(rotate(q), rotate(key).transpose([0, 1, 3, 2]))
      .mul(width ** -0.5)
      .add(future);
    const heard = np
      .matmul(nn.softmax(scores, -1), v)
      .transpose([0, 2, 1, 3])
      .reshape([batch * context, dim]);
    return x.add(np.matmul(heard, out));
  });
  const embed = jit((table: JaxArray, ids: JaxArray): JaxArray => np.matmul(nn.oneHot(ids, vocab), table));
  const entropy = jit((x: JaxArray, scale: JaxArray, head: JaxArray, targets: JaxArray): JaxArray => {
    const logProbs = nn.logSoftmax(np.matmul(normed(x, scale), head), -1);
    return logProbs
      .mul(nn.oneHot(targets, vocab))
      .sum()
      .mul(-1 / (batch * context));
  });
  const normalize = jit(normed);

  const loss = (p: Params, tokens: JaxArray, targets: JaxArray): JaxArray => {
    let x = embed(p["embedding.table"], tokens);
    for (let i = 0; i < layers; i++) {
      const at = (name: string): JaxArray => p[`layers.${i}.${name}`];
      x = attention(x, at("attentionNorm"), at("attention.qkv"), at("attention.out"));
      const weights = ["router.gate", "experts.w1", "experts.w3", "experts.w2"].map((name) => at(`moe.${name}`));
      const [gate, w1, w3, w2] = weights;
      x = x.ref.add(mixtureLayer(normalize(x, at("norm")), [gate, w1, w3, w2], k));
    }
    return entropy(x, p["norm"], p["head.weight"], targets);
  };

  /** All parameters at once: clipped gradients, then AdamW. `rate` and the corrections are scalars that change with the step. */
  const update = jit((p: Params, g: Params, m: Params, v: Params, correct: JaxArray): [Params, Params, Params] => {
    const names = Object.keys(p);
    const norm = np.sqrt(names.map((name) => np.square(g[name].ref).sum()).reduce((a, b) => a.add(b)));
    const shrink = np.maximum(norm, 1);
    const [mean, variance] = [correct.ref.slice(0), correct.slice(1)];
    const next: [Params, Params, Params] = [{}, {}, {}];
    for (const name of names) {
      const gradient = g[name].div(shrink.ref);
      const newMean = m[name].mul(0.9).add(gradient.ref.mul(0.1));
      const newVariance = v[name].mul(0.999).add(np.square(gradient).mul(0.001));
      const direction = newMean.ref
        .div(mean.ref)
        .div(np.sqrt(newVariance.ref.div(variance.ref)).add(1e-8))
        .mul(1e-3);
      const decay = p[name].ndim < 2 ? 1 : 1 - 1e-4;
      next[0][name] = p[name].mul(decay).sub(direction);
      next[1][name] = newMean;
      next[2][name] = newVariance;
    }
    for (const x of [shrink, mean, variance]) x.dispose();
    return next;
  });

  let step = 0;
  async function run(): Promise<number> {
    const ids = drawIntegers(batch * (context + 1), seed, streamOfBatch(step), vocab);
    step++;
    const part = (keep: (column: number) => boolean): JaxArray =>
      np.array(Int32Array.from(ids.filter((_, i) => keep(i % (context + 1)))));
    const [tokens, targets] = [part((column) => column < context), part((column) => column > 0)];
    const [value, grads] = valueAndGrad(loss)(tree.ref(params), tokens, targets);
    const correct = np.array(Float32Array.of(1 - 0.9 ** step, 1 - 0.999 ** step));
    [params, means, variances] = update(params, grads as Params, means, variances, correct);
    await blockUntilReady([params, means, variances]);
    return (await value.data())[0];
  }
  return { run, end: () => tree.dispose([params, means, variances]) };
}

export const languageModel = {
  step(sizes, seed) {
    const model = build(sizes, seed);
    return {
      run: async () => void (await model.run()),
      async outputs() {
        const fresh = build(sizes, seed);
        const losses = Float32Array.of(await fresh.run(), await fresh.run(), await fresh.run());
        fresh.end();
        return { losses };
      },
      end: model.end,
    };
  },
} satisfies TaskMakers;
