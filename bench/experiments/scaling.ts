import { importanceLoss, loadLoss, noisyTopK, softmaxTopK } from "@switchyard/moe";
import type { Experiment, Measured } from "./experiment.ts";
import { trainRegression } from "./regression.ts";

const hidden = 16;
const counts = [4, 8, 16, 32, 64];
const name = (experts: number): string => `${experts} experts, 2 used`;
const dense = "1 network, twice as wide";

const sparse =
  (experts: number) =>
  async (seed: number): Promise<Measured> => {
    const { measured } = await trainRegression(
      {
        experts,
        hidden,
        router: noisyTopK({ k: 2 }),
        losses: { importance: (r) => importanceLoss(r, { weight: 0.1 }), load: (r) => loadLoss(r, { weight: 0.1 }) },
      },
      seed,
    );
    return { error: measured.error, "CV(load)": measured["CV(load)"], dead: measured.dead };
  };

/** What a token costs in a mixture of which it uses two experts, without a choice. */
const one = async (seed: number): Promise<Measured> => {
  const { measured } = await trainRegression({ experts: 1, hidden: 2 * hidden, router: softmaxTopK({ k: 1 }) }, seed);
  return { error: measured.error, "CV(load)": 0, dead: 0 };
};

export const scaling: Experiment = {
  claim: "At equal computation for each input, more experts lower the error. (Shazeer et al. 2017, table 7)",
  task: "Top-2 of experts of width 16, 600 steps of 256 inputs; judged on 4096",
  settings: { [dense]: one, ...Object.fromEntries(counts.map((experts) => [name(experts), sparse(experts)])) },
  plotted: "error",
  checks: [
    {
      says: "each mixture has a lower error than one network of the same cost",
      holds: (mean) => counts.every((experts) => mean(name(experts), "error") < mean(dense, "error")),
    },
    ...counts.slice(1).map((experts) => ({
      says: `${experts} experts have a lower error than ${experts / 2}`,
      holds: (mean: (setting: string, metric: string) => number) =>
        mean(name(experts), "error") < mean(name(experts / 2), "error"),
    })),
  ],
};
