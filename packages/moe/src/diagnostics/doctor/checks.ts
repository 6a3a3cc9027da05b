import { samplingFloor } from "../samplingFloor.ts";
import type { Observed } from "./observe.ts";

/** What a finding is about. */
export type Ailment =
  | "non-finite values"
  | "collapse"
  | "dead experts"
  | "imbalance"
  | "top-1 without gradient"
  | "double softmax"
  | "ties"
  | "saturation"
  | "dropped tokens"
  | "layers that cancel";

export interface Finding {
  readonly ailment: Ailment;
  /** The routing it was found in; absent if it is about all. */
  readonly layer?: number;
  /** `error`: it does not train as meant. `warning`: it costs. `note`: good to know. */
  readonly severity: "error" | "warning" | "note";
  /** What was found, with its numbers. */
  readonly says: string;
  /** What to do. */
  readonly remedy: string;
}

type Check = (layer: Observed) => Finding | undefined;

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
const sum = (list: readonly number[]): number => list.reduce((total, n) => total + n, 0);

/** Standard deviation over mean; 0 of nothing. */
function cvOf(counts: readonly number[]): number {
  const mean = sum(counts) / counts.length;
  return mean === 0 ? 0 : Math.sqrt(sum(counts.map((n) => (n - mean) ** 2)) / counts.length) / mean;
}

/** `exp` of the entropy of the shares. */
function effectiveExperts(counts: readonly number[]): number {
  const total = sum(counts);
  return Math.exp(-sum(counts.filter((n) => n > 0).map((n) => (n / total) * Math.log(n / total))));
}

/** Whether counts are more uneven than chance makes those of tokens that draw evenly. */
const isBeyondChance = ({ tokens, experts, k, requested }: Observed): boolean =>
  cvOf(requested) >= 3 * samplingFloor({ tokens, experts, k });

const nonFinite: Check = ({ layer, logits, probs }) => {
  const [name, rows] = logits ? (["logits", logits] as const) : (["probabilities", probs] as const);
  // -∞ rules an expert out, and is meant.
  const bad = rows.flatMap((row, token) =>
    row.flatMap((v, expert) => (Number.isNaN(v) || v === Infinity ? [{ token, expert, v }] : [])),
  );
  if (bad.length === 0) return undefined;
  const [{ token, expert, v }] = bad;
  return {
    ailment: "non-finite values",
    layer,
    severity: "error",
    says: `${bad.length} router ${name} are not finite, the first ${v} at token ${token}, expert ${expert}`,
    remedy: "find where it was born (ledger's firstNonFinite); lower the learning rate, clip gradients, add zLoss",
  };
};

const collapse: Check = (observed) => {
  const { layer, tokens, experts, k, requested } = observed;
  if (tokens === 0 || experts <= k || !isBeyondChance(observed)) return undefined;
  const used = effectiveExperts(requested);
  if (used > 1.5 * k || used > experts / 2) return undefined;
  return {
    ailment: "collapse",
    layer,
    severity: "error",
    says: `nearly all tokens go to the same ${k}: as uneven as ${used.toFixed(1)} of ${experts} experts used alike`,
    remedy:
      "add importanceLoss and loadLoss, or switchLoss, or balance by updateBias; if they are there, raise their weight",
  };
};

const deadExperts: Check = ({ layer, tokens, experts, k, requested }) => {
  const dead = [...requested.keys()].filter((e) => requested[e] === 0);
  const byChance = experts * (1 - k / experts) ** tokens;
  if (dead.length === 0 || tokens === 0 || byChance > 0.01) return undefined;
  return {
    ailment: "dead experts",
    layer,
    severity: "warning",
    says: `${dead.length} of ${experts} experts got none of ${tokens} tokens: ${dead.slice(0, 12).join(", ")}${dead.length > 12 ? ", …" : ""}`,
    remedy:
      "raise the weight of the balance loss, or route with noise while training; an expert without tokens learns nothing",
  };
};

const imbalance: Check = (observed) => {
  const { layer, tokens, experts, k, requested } = observed;
  if (tokens === 0 || experts <= k || !isBeyondChance(observed)) return undefined;
  const [cv, floor] = [cvOf(requested), samplingFloor({ tokens, experts, k })];
  if (cv < 0.5) return undefined;
  const busiest = (Math.max(...requested) * experts) / sum(requested);
  return {
    ailment: "imbalance",
    layer,
    severity: "warning",
    says: `the load has a CV of ${cv.toFixed(2)}, where chance alone makes ${floor.toFixed(2)}; the busiest expert has ${busiest.toFixed(1)} times the mean`,
    remedy: "raise the weight of the balance loss; judge on a larger batch if chance alone is near",
  };
};

const topOne: Check = ({ layer, experts, k, weights, logits }) => {
  if (!weights || !logits || k !== 1 || experts === 1 || weights.length === 0) return undefined;
  // What capacity has dropped weighs 0.
  if (!weights.every(([w]) => w === 1 || w === 0) || !weights.some(([w]) => w === 1)) return undefined;
  return {
    ailment: "top-1 without gradient",
    layer,
    severity: "error",
    says: "each token has one choice and its weight is always 1, so that the task teaches the router nothing",
    remedy: "weigh by the probability: switchTop1(), or softmaxTopK({ k: 1, renormalize: false }); or choose k = 2",
  };
};

const doubleSoftmax: Check = ({ layer, logits }) => {
  if (!logits || logits.length === 0 || logits[0].length === 1) return undefined;
  const isShare = (row: readonly number[]): boolean =>
    row.every((v) => v >= 0 && v <= 1) && Math.abs(sum(row) - 1) < 1e-4;
  if (!logits.every(isShare)) return undefined;
  return {
    ailment: "double softmax",
    layer,
    severity: "error",
    says: "what the record calls logits are probabilities already: each row adds up to 1, and losses take their softmax again",
    remedy: "give makeRouting the logits before the softmax; or the probabilities as probs, without logits",
  };
};

const ties: Check = ({ layer, k, logits }) => {
  if (!logits || logits.length === 0 || k >= logits[0].length || !Number.isInteger(k)) return undefined;
  const tied = logits.filter((row) => {
    const sorted = row.toSorted((a, b) => b - a);
    return sorted[k - 1] === sorted[k];
  });
  if (tied.length < logits.length / 10) return undefined;
  return {
    ailment: "ties",
    layer,
    severity: "warning",
    says: `${percent(tied.length / logits.length)} of the tokens have tied logits at the last choice: the lowest experts win`,
    remedy: "an untrained noisyTopK starts so and needs noise, { train: true, key }; else look for a gate of zeros",
  };
};

const saturation: Check = ({ layer, experts, probs, logits }) => {
  if (!logits || probs.length === 0 || experts === 1) return undefined;
  const sure = sum(probs.map((row) => Number(Math.max(...row) > 0.9999))) / probs.length;
  if (sure < 0.5) return undefined;
  return {
    ailment: "saturation",
    layer,
    severity: "warning",
    says: `for ${percent(sure)} of the tokens one expert has a probability above 0.9999: the router has next to no gradient`,
    remedy: "add zLoss with a weight of 1e-3, lower the router's learning rate, or normalise its input",
  };
};

const droppedTokens: Check = ({ layer, dropped }) =>
  dropped < 0.01
    ? undefined
    : {
        ailment: "dropped tokens",
        layer,
        severity: dropped < 0.1 ? "note" : "warning",
        says: `${percent(dropped)} of the pairs were not sent to their expert, and add nothing`,
        remedy: 'raise capacityFactor, balance better, or dispatch: "dropless"',
      };

const ofOneLayer: readonly Check[] = [
  nonFinite,
  collapse,
  deadExperts,
  imbalance,
  topOne,
  doubleSoftmax,
  ties,
  saturation,
  droppedTokens,
];

/** Layers that are uneven each by itself, and even together. */
function layersThatCancel(layers: readonly Observed[]): Finding | undefined {
  const [first] = layers;
  if (layers.length < 2 || layers.some(({ experts }) => experts !== first.experts)) return undefined;
  const together = Array.from({ length: first.experts }, (_, e) => sum(layers.map(({ requested }) => requested[e])));
  const [alone, all] = [sum(layers.map(({ requested }) => cvOf(requested))) / layers.length, cvOf(together)];
  if (alone < 0.5 || all > alone / 2) return undefined;
  return {
    ailment: "layers that cancel",
    severity: "warning",
    says: `layers have a mean CV of ${alone.toFixed(2)}, their sum one of ${all.toFixed(2)}: they are uneven in opposite directions`,
    remedy: "balance each layer by itself, as moe's losses do; a loss of counts averaged over layers sees nothing",
  };
}

/** Everything that is wrong, layer by layer, then what only shows in all. */
export function check(layers: readonly Observed[]): Finding[] {
  const each = layers.flatMap((layer) => ofOneLayer.map((one) => one(layer)));
  return [...each, layersThatCancel(layers)].filter((finding) => finding !== undefined);
}
