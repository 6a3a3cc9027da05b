// Do the task and the balance pull the router the same way, as training goes on? `npm run example examples/taskAgainstBalance.ts`.
import { init, random, realize, type Key, type Tensor } from "@switchyard/tensor";
import { adam, ledger, valueAndGrad, type Optimizer } from "@switchyard/autograd";
import { importanceLoss, moe, noisyTopK, type MoeParams, type NoisyTopKParams } from "@switchyard/moe";

export interface Row {
  readonly step: number;
  /** Norms of what moves the gate. */
  readonly task: number;
  readonly balance: number;
  /** Of the angle between the two: below 0 they work against each other. */
  readonly cosine: number;
}

/** Trains, and takes the gate's gradient apart every so many steps. */
export async function taskAgainstBalance<P, S>(
  lossOf: (p: P, x: Tensor, key: Key) => { loss: Tensor },
  gate: (p: P) => Tensor,
  params: P,
  state: S,
  optimizer: Optimizer<S>,
  batch: (step: number) => [Tensor, Key],
  { steps = 2000, every = 50 } = {},
): Promise<Row[]> {
  const rows: Row[] = [];
  for (let step = 0; step < steps; step++) {
    const [x, key] = batch(step);
    if (step % every === 0) {
      const { parts } = (await ledger(lossOf)(params, x, key)).by("term").of(gate(params));
      const task = parts.find((p) => !p.class.term)!;
      const balance = parts.find((p) => p.class.term === "importance")!;
      const dot = await task.contribution.mul(balance.contribution).sum().item();
      rows.push({ step, task: task.norm, balance: balance.norm, cosine: dot / (task.norm * balance.norm) });
    }
    const [, grads] = valueAndGrad(lossOf)(params, x, key);
    const next = optimizer.update(params, grads, state);
    await realize(next, { donate: [params, state] });
    [params, state] = next;
  }
  return rows;
}

const layer = moe({
  dim: 8,
  hidden: 16,
  experts: 8,
  router: noisyTopK({ k: 2 }),
  losses: { importance: (r) => importanceLoss(r, { weight: 0.1 }) },
});
type Params = MoeParams<NoisyTopKParams>;

export const lossOf = (p: Params, x: Tensor, key: Key) => {
  const { output, balance } = layer.apply(p, x, { train: true, key });
  return { loss: output.sub(x.sin()).square().mean().add(balance) };
};
export const gate = (p: Params): Tensor => p.router.gate;
export const begin = (): Params => layer.init(random.key(0));
/** 128 tokens with a common mean, and the noise of their routing. */
export const batch = (step: number): [Tensor, Key] => {
  const [inputs, noise] = random.split(random.key(step));
  return [random.normal(inputs, [128, 8]).add(2), noise];
};

if (import.meta.main) {
  await init("wasm");
  const params = begin();
  const optimizer = adam({ learningRate: 1e-2 });
  const state = optimizer.init(params);
  for (const row of await taskAgainstBalance(lossOf, gate, params, state, optimizer, batch, { steps: 501 })) {
    const [task, balance] = [row.task, row.balance].map((norm) => norm.toFixed(4));
    console.log(`step ${row.step}: task ${task}, balance ${balance}, cosine ${row.cosine.toFixed(2)}`);
  }
}
