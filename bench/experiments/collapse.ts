import { importanceLoss, loadLoss, noisyTopK } from "@switchyard/moe";
import type { Experiment } from "./experiment.ts";
import { trainRegression } from "./regression.ts";

/** The weights of the importance and the load loss, as in the source. */
const weights = [
  [0, 0],
  [0.2, 0],
  [0, 0.2],
  [0.1, 0.1],
  [0.01, 0.01],
  [1, 1],
] as const;

const name = ([importance, load]: readonly [number, number]): string => `importance ${importance}, load ${load}`;

const run =
  ([importance, load]: readonly [number, number]) =>
  (seed: number) =>
    trainRegression(
      {
        experts: 16,
        router: noisyTopK({ k: 2 }),
        losses: {
          importance: (r) => importanceLoss(r, { weight: importance }),
          load: (r) => loadLoss(r, { weight: load }),
        },
      },
      seed,
    ).then(({ measured }) => measured);

export const collapse: Experiment = {
  claim:
    "Without balance losses a router collapses on a few experts, which costs quality; with CV² losses of importance and load it does not, at any of a wide range of weights. (Shazeer et al. 2017, table 6)",
  task: "16 experts, noisy top-2, 600 steps of 256 inputs; judged on 4096",
  settings: Object.fromEntries(weights.map((pair) => [name(pair), run(pair)])),
  plotted: "CV(load)",
  checks: [
    {
      says: "without losses the load is at least five times as uneven as with both",
      holds: (mean) => mean(name([0, 0]), "CV(load)") > 5 * mean(name([0.1, 0.1]), "CV(load)"),
    },
    {
      says: "without losses the error is higher than with any of weights up to 0.2",
      holds: (mean) => weights.slice(1, 5).every((pair) => mean(name(pair), "error") < mean(name([0, 0]), "error")),
    },
    {
      says: "and higher than with weights of 1",
      holds: (mean) => mean(name([1, 1]), "error") < mean(name([0, 0]), "error"),
    },
    {
      says: "the load loss balances the load better than the importance loss does",
      holds: (mean) => mean(name([0, 0.2]), "CV(load)") < mean(name([0.2, 0]), "CV(load)"),
    },
    {
      says: "no expert is dead where the load loss weighs 0.1 or more",
      holds: (mean) => [weights[2], weights[3], weights[5]].every((pair) => mean(name(pair), "dead") === 0),
    },
  ],
};
