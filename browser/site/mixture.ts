import { random, realize } from "@switchyard/tensor";
import { adamw, valueAndGrad } from "@switchyard/autograd";
import { importanceLoss, moe, noisyTopK } from "@switchyard/moe";

const steps = 8;

/** Trains a mixture of eight experts on the default device. @returns the loss of each step. */
export async function trained(): Promise<number[]> {
  const layer = moe({
    dim: 32,
    hidden: 64,
    experts: 8,
    router: noisyTopK({ k: 2 }),
    losses: { importance: (routing) => importanceLoss(routing, { weight: 0.1 }) },
  });
  const optimizer = adamw({ learningRate: 1e-2 });
  let params = layer.init(random.key(0));
  let state = optimizer.init(params);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const [data, noise] = random.split(random.key(step), 2);
    const x = random.normal(data, [256, 32]);
    const [{ loss }, grads] = valueAndGrad((p: typeof params) => {
      const { output, balance } = layer.apply(p, x, { train: true, key: noise });
      return { loss: output.sub(x.tanh()).square().mean().add(balance) };
    })(params);
    const next = optimizer.update(params, grads, state);
    await realize([loss, next], { donate: [params, state] });
    [params, state] = next;
    losses.push(await loss.item());
  }
  return losses;
}
