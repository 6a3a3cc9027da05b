// A mixture of sixteen experts learns by hand, without `train`: `npm run example examples/regressor.ts`.
import { init, memory, random, realize, type Key, type Tensor } from "@switchyard/tensor";
import { adam, valueAndGrad } from "@switchyard/autograd";
import { importanceLoss, loadLoss, loadMetrics, moe, noisyTopK } from "@switchyard/moe";

export interface RegressorOptions {
  readonly steps: number;
  /** Every which step is told of. */
  readonly every: number;
  /** False leaves out what a newcomer may leave out: realizing the first parameters, and donating those that a step replaces. */
  readonly tidy: boolean;
}

/** Trains, and tells how it goes: the loss, how unevenly the experts are used, and what is alive on the device. */
export async function* trainRegressor({ steps, every, tidy }: RegressorOptions) {
  const layer = moe({
    dim: 8,
    hidden: 32,
    experts: 16,
    router: noisyTopK({ k: 2 }),
    activation: "relu",
    losses: { importance: (r) => importanceLoss(r, { weight: 0.1 }), load: (r) => loadLoss(r, { weight: 0.1 }) },
  });
  let params = layer.init(random.key(0));
  if (tidy) await realize(params);
  const optimizer = adam({ learningRate: 3e-3 });
  let state = optimizer.init(params);

  const lossOf = (p: typeof params, x: Tensor, y: Tensor, key: Key) => {
    const { output, routing, balance } = layer.apply(p, x, { train: true, key });
    return { loss: output.sub(y).square().mean().add(balance), routing };
  };
  for (let step = 0; step < steps; step++) {
    const [kx, kn] = random.split(random.fold(random.key(1), step));
    const x = random.normal(kx, [256, 8]).add(2); // [B, D]
    const y = x.mul(x.gt(2).cast("f32"));
    const [{ loss, routing }, grads] = valueAndGrad(lossOf)(params, x, y, kn);
    const next = optimizer.update(params, grads, state);
    const { cv } = loadMetrics(routing.counts);
    await realize({ loss, next, cv }, tidy ? { donate: [params, state] } : {});
    [params, state] = next;
    if (step % every === 0 || step === steps - 1)
      yield { step, loss: await loss.item(), cv: await cv.item(), liveBytes: memory().liveBytes };
  }
}

if (import.meta.main) {
  await init("wasm");
  for await (const { step, loss, cv, liveBytes } of trainRegressor({ steps: 600, every: 100, tidy: true }))
    console.log(`step ${step}: loss ${loss.toFixed(3)}, CV of the load ${cv.toFixed(2)}, ${liveBytes} bytes alive`);
}
