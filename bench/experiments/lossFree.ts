import { sigmoidTopK, switchLoss, updateBias } from "@switchyard/moe";
import type { Experiment, Measured } from "./experiment.ts";
import { trainRegression, type Trained } from "./regression.ts";

const weights = [1e-3, 1e-2, 1e-1];
const speeds = [1e-3, 1e-2, 1e-1];
const none = "no balance";
const byLoss = (weight: number): string => `loss of weight ${weight}`;
const byBias = (speed: number): string => `bias, speed ${speed}`;
const router = sigmoidTopK({ k: 2 });

const judged = ({ measured }: Trained<unknown>): Measured => ({
  error: measured.error,
  MaxVio: measured["max/mean"] - 1,
  "CV(load)": measured["CV(load)"],
  "CV by chance": measured["CV by chance"],
  dead: measured.dead,
});

const withLoss = (weight: number) => (seed: number) =>
  trainRegression({ experts: 16, router, losses: { switch: (r) => switchLoss(r, { weight }) } }, seed).then(judged);

const withBias = (speed: number) => (seed: number) =>
  trainRegression(
    {
      experts: 16,
      router,
      afterStep: ({ router: { gate, bias }, experts }, { counts }) => ({
        router: { gate, bias: updateBias(bias, counts, { speed }) },
        experts,
      }),
    },
    seed,
  ).then(judged);

const best = (names: readonly string[], metric: string, mean: (s: string, m: string) => number): number =>
  Math.min(...names.map((name) => mean(name, metric)));

export const lossFree: Experiment = {
  claim:
    "A selection bias that follows the load balances better than an auxiliary loss, at an equal or lower error. (Wang et al. 2024, table 2)",
  task: "16 experts, sigmoid top-2, 600 steps of 256 inputs; judged on 4096",
  settings: {
    [none]: withLoss(0),
    ...Object.fromEntries(weights.map((weight) => [byLoss(weight), withLoss(weight)])),
    ...Object.fromEntries(speeds.map((speed) => [byBias(speed), withBias(speed)])),
  },
  plotted: "MaxVio",
  checks: [
    {
      says: "the best balance of a bias is better than the best of a loss",
      holds: (mean) => best(speeds.map(byBias), "MaxVio", mean) < best(weights.map(byLoss), "MaxVio", mean),
    },
    {
      says: "the lowest error of a bias is at most that of a loss",
      holds: (mean) => best(speeds.map(byBias), "error", mean) <= best(weights.map(byLoss), "error", mean),
    },
    {
      says: "one bias is better than every loss in both",
      holds: (mean) =>
        speeds
          .map(byBias)
          .some(
            (bias) =>
              mean(bias, "MaxVio") < best(weights.map(byLoss), "MaxVio", mean) &&
              mean(bias, "error") <= best(weights.map(byLoss), "error", mean),
          ),
    },
  ],
};
