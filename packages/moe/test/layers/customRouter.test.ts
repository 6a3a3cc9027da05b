import { checkGrads } from "@switchyard/autograd";
import { init, random, softmax, term, topK, type Tensor } from "@switchyard/tensor";
import { makeRouting, moe, type Router, type Routing } from "@switchyard/moe";
import { beforeAll, expect, test } from "vitest";

beforeAll(() => init("cpu"));

const unit = (v: Tensor, axis: number) => v.div(v.norm(axis, { keepDims: true }));

/** Routes by the angle between a token and each expert's own direction. */
const cosineTopK = ({ k, tau = 0.1 }: { k: number; tau?: number }): Router<{ gate: Tensor }> => ({
  init: (key, { dim, experts }) => ({ gate: random.normal(key, [dim, experts]) }),
  route({ gate }, x, { mask } = {}) {
    const logits = unit(x, -1).matmul(unit(gate, 0)).div(tau); // [T, E]
    const { values, indices } = topK(logits, k, -1); // [T, k]
    return makeRouting({ experts: indices, weights: softmax(values, -1), logits, mask });
  },
});

const marginalEntropyLoss = (r: Routing, weight = 1) => {
  const p = r.probs.mean(0); // [E]
  return term("marginalEntropy", p.mul(p.log()).sum().mul(weight));
};

test("a router and a loss of one's own take twenty lines, and their gradients are right", async () => {
  const layer = moe({
    dim: 4,
    hidden: 8,
    experts: 3,
    router: cosineTopK({ k: 2 }),
    losses: { entropy: (r) => marginalEntropyLoss(r, 0.01) },
  });
  const params = layer.init(random.key(0));
  await checkGrads(
    (p: ReturnType<typeof layer.init>, x: Tensor) => {
      const o = layer.apply(p, x);
      return o.output.sum().add(o.balance);
    },
    [params, random.normal(random.key(1), [5, 4])],
  );
  const { losses, routing } = layer.apply(params, random.normal(random.key(1), [5, 4]));
  expect(await losses.entropy.item()).toBeLessThan(0);
  expect(routing.experts?.shape).toEqual([5, 2]);
});
