// A router and a loss of one's own, and the proof that their gradients are right: `npm run example examples/customRouter.ts`.
import { init, random, softmax, term, topK, type Tensor } from "@switchyard/tensor";
import { checkGrads } from "@switchyard/autograd";
import { makeRouting, moe, type Router, type Routing } from "@switchyard/moe";

const unit = (v: Tensor, axis: number) => v.div(v.norm(axis, { keepDims: true }));

/** Routes by the angle between a token and each expert's own direction. */
export const cosineTopK = ({ k, tau = 0.1 }: { k: number; tau?: number }): Router<{ gate: Tensor }> => ({
  init: (key, { dim, experts }) => ({ gate: random.normal(key, [dim, experts]) }),
  route({ gate }, x, { mask } = {}) {
    const logits = unit(x, -1).matmul(unit(gate, 0)).div(tau); // [T, E]
    const { values, indices } = topK(logits, k, -1); // [T, k]
    return makeRouting({ experts: indices, weights: softmax(values, -1), logits, mask });
  },
});

/** Lowest where, over the batch, every expert is as probable as any other. */
export const marginalEntropyLoss = (r: Routing, weight = 1) => {
  const p = r.probs.mean(0); // [E]
  return term("marginalEntropy", p.mul(p.log()).sum().mul(weight));
};

export const layer = moe({
  dim: 4,
  hidden: 8,
  experts: 3,
  router: cosineTopK({ k: 2 }),
  losses: { entropy: (r) => marginalEntropyLoss(r, 0.01) },
});

/** Compares the layer's gradients, of parameters and input, with finite differences. */
export const checkLayer = (): Promise<void> =>
  checkGrads(
    (p: ReturnType<typeof layer.init>, x: Tensor) => {
      const o = layer.apply(p, x);
      return o.output.sum().add(o.balance);
    },
    [layer.init(random.key(0)), random.normal(random.key(1), [5, 4])],
  );

if (import.meta.main) {
  await init("cpu");
  await checkLayer();
  const { routing } = layer.apply(layer.init(random.key(0)), random.normal(random.key(1), [5, 4]));
  console.log(`gradients agree with finite differences; tokens by expert: ${await routing.counts.data()}`);
}
