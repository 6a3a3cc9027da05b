import { softmaxTopK, switchLoss } from "@switchyard/moe";
import type { Experiment, Measured } from "./experiment.ts";
import { trainRegression } from "./regression.ts";

const renormalized = "weight renormalised to 1";
const plain = "weight is the probability";
const balanced = "the same, with the Switch loss";

const run =
  (renormalize: boolean, weight: number) =>
  async (seed: number): Promise<Measured> => {
    const { start, params, measured } = await trainRegression(
      {
        experts: 16,
        router: softmaxTopK({ k: 1, renormalize }),
        losses: weight > 0 ? { switch: (r) => switchLoss(r, { weight }) } : {},
      },
      seed,
    );
    const moved = await params.router.gate.sub(start.router.gate).norm().item();
    return {
      error: measured.error,
      "gate moved": moved / (await start.router.gate.norm().item()),
      "CV(load)": measured["CV(load)"],
    };
  };

export const topOne: Experiment = {
  claim:
    "A router of one choice whose weight is renormalised learns nothing: its weight is 1 whatever it says. Weighed by the probability it learns. (Fedus et al. 2021, section 2.1; reported as a bug of several libraries)",
  task: "16 experts, top-1, 600 steps of 256 inputs; judged on 4096",
  settings: { [renormalized]: run(true, 0), [plain]: run(false, 0), [balanced]: run(false, 1e-2) },
  plotted: "error",
  checks: [
    { says: "renormalised, the gate does not move at all", holds: (mean) => mean(renormalized, "gate moved") === 0 },
    { says: "otherwise it does", holds: (mean) => mean(plain, "gate moved") > 0.1 },
    {
      says: "a gate that learns, kept in balance, has a lower error than one that does not",
      holds: (mean) => mean(balanced, "error") < mean(renormalized, "error"),
    },
  ],
};
