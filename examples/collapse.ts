// A mixture left to its task alone sends everything to a few experts; losses, or a bias, keep all in use: `npm run example examples/collapse.ts`.
import { init, random, type Key, type Tensor } from "@switchyard/tensor";
import { adam } from "@switchyard/autograd";
import { importanceLoss, loadLoss, loadMetrics, moe, noisyTopK, sigmoidTopK, train, updateBias } from "@switchyard/moe";
import type { LogitRouting, LossOptions, Model, MoeParams, Router } from "@switchyard/moe";

interface Points {
  readonly x: Tensor;
  readonly y: Tensor;
}

/** Points far from the origin, so that the router's first steps favour the same experts for all. A pure function of the step. */
function points(step: number): Points {
  const x = random.normal(random.fold(random.key(1), step), [256, 8]).add(2); // [B, D]
  return { x, y: x.sin() };
}

/** A mixture of eight experts as a model, with balancing losses of some weight. */
function mixture<P, R extends LogitRouting>(
  router: Router<P, R>,
  losses: { [name: string]: (routing: R) => Tensor } = {},
) {
  const layer = moe({ dim: 8, hidden: 2, experts: 8, router, losses });
  return {
    init: (key: Key) => layer.init(key),
    loss(params: MoeParams<P>, { x, y }: Points, options: LossOptions) {
      const { output, routing, balance } = layer.apply(params, x, options);
      const error = output.sub(y).square().mean();
      return { loss: error.add(balance), error, routing };
    },
  };
}

/** How well a model fits after so many steps, and how many evenly used experts its load is worth. */
async function fit<P, A extends { loss: Tensor; error: Tensor; routing: LogitRouting }>(
  model: Model<P, Points, A>,
  steps: number,
) {
  const optimizer = adam({
    learningRate: 1e-2,
    each: (path) => (path.endsWith("bias") ? { frozen: true } : undefined),
  });
  const { aux } = await train({ model, data: points, optimizer, steps }).finish();
  const { effectiveExperts } = loadMetrics(aux.routing.counts);
  return { error: await aux.error.item(), effectiveExperts: await effectiveExperts.item() };
}

/** The same mixture without a cure, with the losses of Shazeer et al. 2017, and with the bias of Wang et al. 2024, which no gradient touches. */
export async function* compare(steps: number) {
  yield { cure: "the task alone", ...(await fit(mixture(noisyTopK({ k: 2 })), steps)) };
  const losses = {
    importance: (r: LogitRouting) => importanceLoss(r, { weight: 0.1 }),
    load: (r: LogitRouting) => loadLoss(r, { weight: 0.1 }),
  };
  yield { cure: "importance and load losses", ...(await fit(mixture(noisyTopK({ k: 2 }), losses), steps)) };
  const model = mixture(sigmoidTopK({ k: 2 }));
  const biased: typeof model & Model<ReturnType<typeof model.init>, Points, ReturnType<typeof model.loss>> = {
    ...model,
    afterStep: ({ router, experts }, { routing }) => ({
      experts,
      router: { ...router, bias: updateBias(router.bias, routing.counts, { speed: 0.02 }) },
    }),
  };
  yield { cure: "a selection bias", ...(await fit(biased, steps)) };
}

if (import.meta.main) {
  await init("wasm");
  for await (const { cure, error, effectiveExperts } of compare(300))
    console.log(
      `${cure}: error ${error.toFixed(4)}, as uneven as ${effectiveExperts.toFixed(1)} of 8 experts used alike`,
    );
}
