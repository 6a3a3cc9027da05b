import { importanceLoss, loadLoss, noisyTopK, transformer, type TransformerOptions } from "@switchyard/moe";
import type { Experiment, Measured } from "./experiment.ts";
import { learner, mobyDick, type Learner } from "./text.ts";

const [context, batch, seconds] = [64, 8, 20];
const corpus = await mobyDick(context);
const sizes = { vocab: corpus.tokenizer.size, dim: 64, layers: 2, heads: 2, context };
const hidden = 128;

/** A transformer whose networks are dense, and as wide as two experts. */
const dense: TransformerOptions = { ...sizes, hidden: 2 * hidden, moe: null };
const sparse = (experts: number): TransformerOptions => ({
  ...sizes,
  hidden,
  moe: {
    experts,
    router: noisyTopK({ k: 2 }),
    losses: { importance: (r) => importanceLoss(r, { weight: 0.01 }), load: (r) => loadLoss(r, { weight: 0.01 }) },
  },
});
const denseName = "dense";
const counts = [8, 32];
const name = (experts: number): string => `${experts} experts, 2 used`;
const models = { [denseName]: dense, ...Object.fromEntries(counts.map((experts) => [name(experts), sparse(experts)])) };

/** All models take turns, update by update, so that each meets the same machine; each stops when its own updates have taken their time. */
async function race(seed: number): Promise<Record<string, Measured>> {
  const entrants: [string, Learner][] = [];
  for (const [setting, options] of Object.entries(models))
    entrants.push([
      setting,
      await learner({ model: transformer(options), corpus, batch, context, learningRate: 3e-3, seed }),
    ]);
  for (const [, entrant] of entrants) for (let i = 0; i < 3; i++) await entrant.update(); // compiles
  const from = new Map(entrants.map(([setting, entrant]) => [setting, entrant.seconds]));
  const isRunning = ([setting, entrant]: [string, Learner]): boolean => entrant.seconds - from.get(setting)! < seconds;
  while (entrants.some(isRunning)) for (const entrant of entrants.filter(isRunning)) await entrant[1].update();
  const judged: Record<string, Measured> = {};
  for (const [setting, entrant] of entrants)
    judged[setting] = { "held-out loss": await entrant.judge(), updates: entrant.steps };
  return judged;
}

const races = new Map<number, Promise<Record<string, Measured>>>();
const run =
  (setting: string) =>
  async (seed: number): Promise<Measured> => {
    if (!races.has(seed)) races.set(seed, race(seed));
    return (await races.get(seed)!)[setting];
  };

export const sparseOrDense: Experiment = {
  claim:
    "At equal time on the clock a sparse model reaches a lower loss than a dense one of the same cost for a token. (Fedus et al. 2021, figure 1)",
  task: `Transformers of 2 layers on the characters of Moby-Dick, ${seconds} s of updates each, taking turns`,
  settings: Object.fromEntries(Object.keys(models).map((setting) => [setting, run(setting)])),
  plotted: "held-out loss",
  checks: counts.map((experts) => ({
    says: `${experts} experts have a held-out loss lower by a hundredth than the dense model after the same time`,
    holds: (mean) => mean(name(experts), "held-out loss") < 0.99 * mean(denseName, "held-out loss"),
  })),
};
