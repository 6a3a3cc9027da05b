import { softmaxTopK, switchLoss } from "@switchyard/moe";
import type { Experiment, Measured } from "./experiment.ts";
import { trainRegression } from "./regression.ts";

const factors = [0.5, 0.75, 1, 1.25, 1.5, 2];
const name = (factor: number): string => `capacity factor ${factor}`;
const dropless = "dropless";

const run =
  (capacityFactor?: number) =>
  async (seed: number): Promise<Measured> => {
    const { measured } = await trainRegression(
      {
        experts: 16,
        router: softmaxTopK({ k: 2 }),
        losses: { switch: (r) => switchLoss(r, { weight: 1e-2 }) },
        dispatch: capacityFactor === undefined ? "dropless" : { capacityFactor },
      },
      seed,
    );
    return { error: measured.error, "% dropped": 100 * measured.dropped, "CV(load)": measured["CV(load)"] };
  };

export const capacity: Experiment = {
  claim:
    "The less room experts have, the more tokens are dropped and the higher the error; a factor of 1.25 to 2 drops few. (Fedus et al. 2021, section 2.2 and table 1; Gale et al. 2022)",
  task: "16 experts, softmax top-2, Switch loss of weight 0.01, 600 steps of 256 inputs; judged on 4096 under the same capacity",
  settings: {
    ...Object.fromEntries(factors.map((factor) => [name(factor), run(factor)])),
    [dropless]: run(),
  },
  plotted: "error",
  checks: [
    ...factors.slice(1).map((factor, i) => ({
      says: `a factor of ${factor} drops no more pairs than ${factors[i]}`,
      holds: (mean: (setting: string, metric: string) => number) =>
        mean(name(factor), "% dropped") <= mean(name(factors[i]), "% dropped"),
    })),
    {
      says: "at a factor of 2 fewer than 1 % are dropped",
      holds: (mean) => mean(name(2), "% dropped") < 1,
    },
    {
      says: "at a factor of 0.5 the error is higher than without dropping",
      holds: (mean) => mean(name(0.5), "error") > mean(dropless, "error"),
    },
    {
      says: "dropless has the lowest error",
      holds: (mean) => factors.every((factor) => mean(dropless, "error") <= mean(name(factor), "error")),
    },
  ],
};
