import type { Tensor, Tensor2D, Variable } from "@tensorflow/tfjs-core";
import { drawIntegers } from "../../runner/random.ts";
import type { StepSizes, TaskMakers } from "../../tasks.ts";
import { languageModelParameters, streamOfBatch } from "../parameters.ts";
import type { TensorFlow } from "./load.ts";
import { mixtureLayer } from "./mixture.ts";
import { drawn } from "./ready.ts";

/** The language model of `../switchyard/languageModel.ts`. One-hot products stand in for gathers, which have no gradient on wasm. */
export function languageModel(tf: TensorFlow) {
  const layer = mixtureLayer(tf);

  function build(sizes: StepSizes, seed: number) {
    const { vocab, dim, layers, heads, context, batch, k } = sizes;
    const width = dim / heads;
    const variables = new Map<string, Variable>();
    const variable = (name: string, start: Tensor): void => void variables.set(name, tf.variable(start));
    languageModelParameters(sizes).forEach(({ name, shape, scale }, i) =>
      variable(name, drawn(tf, [...shape], seed, i, scale)),
    );
    const norms = Array.from({ length: layers }, (_, i) => [`layers.${i}.attentionNorm`, `layers.${i}.norm`]);
    for (const name of [...norms.flat(), "norm"]) variable(name, tf.ones([dim]));
    const list = [...variables.values()];
    const means = list.map((v) => tf.variable(tf.zerosLike(v)));
    const variances = list.map((v) => tf.variable(tf.zerosLike(v)));

    const angle = tf.outerProduct(
      tf.range(0, context),
      tf.tensor1d(Array.from({ length: width / 2 }, (_, i) => 10_000 ** ((-2 * i) / width))),
    );
    const [cos, sin] = [angle.cos(), angle.sin()];
    const future = tf.sub(1, tf.linalg.bandPart(tf.ones([context, context]), -1, 0)).mul(-1e9);

    const p = (name: string): Tensor => variables.get(name)!;
    const rotate = (x: Tensor): Tensor => {
      const [a, b] = tf.split(x, 2, -1);
      return tf.concat([a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))], -1);
    };
    const normed = (name: string, x: Tensor2D): Tensor2D =>
      x.mul(x.square().mean(-1, true).add(1e-5).rsqrt()).mul(p(name));
    const attention = (i: number, x: Tensor2D): Tensor2D => {
      const qkv = tf.split(tf.matMul(x, p(`layers.${i}.attention.qkv`) as Tensor2D), 3, -1);
      const [q, key, v] = qkv.map((t) => t.reshape([batch, context, heads, width]).transpose([0, 2, 1, 3]));
      const scores = tf
        .matMul(rotate(q), rotate(key), false, true)
        .mul(width ** -0.5)
        .add(future);
      const heard = tf
        .matMul(tf.softmax(scores), v)
        .transpose([0, 2, 1, 3])
        .reshape([batch * context, dim]);
      return tf.matMul(heard as Tensor2D, p(`layers.${i}.attention.out`) as Tensor2D);
    };
    const loss = (tokens: Int32Array, targets: Int32Array): Tensor => {
      const oneHot = (ids: Int32Array): Tensor2D => tf.oneHot(tf.tensor1d(ids, "int32"), vocab) as Tensor2D;
      let x = tf.matMul(oneHot(tokens).cast("float32"), p("embedding.table") as Tensor2D) as Tensor2D; // [B·S, D]
      for (let i = 0; i < layers; i++) {
        x = x.add(attention(i, normed(`layers.${i}.attentionNorm`, x)));
        const names = ["router.gate", "experts.w1", "experts.w3", "experts.w2"] as const;
        const [gate, w1, w3, w2] = names.map((name) => p(`layers.${i}.moe.${name}`));
        x = x.add(layer(normed(`layers.${i}.norm`, x), [gate, w1, w3, w2], k));
      }
      const logits = tf.matMul(normed("norm", x), p("head.weight") as Tensor2D);
      return tf
        .logSoftmax(logits)
        .mul(oneHot(targets))
        .sum()
        .mul(-1 / (batch * context));
    };

    let step = 0;
    const update = (grads: Tensor[]): void => {
      const norm = Math.sqrt(tf.addN(grads.map((g) => g.square().sum())).dataSync()[0]);
      const [rate, time] = [1e-3, step + 1];
      for (const [i, v] of list.entries()) {
        const g = grads[i].mul(1 / Math.max(norm, 1));
        means[i].assign(means[i].mul(0.9).add(g.mul(0.1)));
        variances[i].assign(variances[i].mul(0.999).add(g.square().mul(0.001)));
        const direction = means[i]
          .div(
            variances[i]
              .div(1 - 0.999 ** time)
              .sqrt()
              .add(1e-8),
          )
          .mul(rate / (1 - 0.9 ** time));
        v.assign(v.mul(v.rank < 2 ? 1 : 1 - rate * 0.1).sub(direction));
      }
    };
    const run = (): number => {
      const ids = drawIntegers(batch * (context + 1), seed, streamOfBatch(step), vocab);
      const tokens = ids.filter((_, i) => i % (context + 1) < context);
      const targets = ids.filter((_, i) => i % (context + 1) > 0);
      const value = tf.tidy(() => {
        const { value: found, grads } = tf.variableGrads(() => loss(tokens, targets).asScalar(), list);
        update(list.map((v) => grads[v.name]));
        return found.dataSync()[0];
      });
      step++;
      return value;
    };
    return { run, end: () => tf.dispose([...list, ...means, ...variances, angle, cos, sin, future]) };
  }

  return {
    step(sizes, seed) {
      const model = build(sizes, seed);
      return {
        run: async () => void model.run(),
        async outputs() {
          const fresh = build(sizes, seed);
          const losses = Float32Array.from([fresh.run(), fresh.run(), fresh.run()]);
          fresh.end();
          return { losses };
        },
        end: model.end,
      };
    },
  } satisfies TaskMakers;
}
