import { ConfigError } from "@switchyard/tensor";
import {
  checkOptions,
  flag,
  oneOf,
  positiveInteger,
  requireOptions,
  wholeNumber,
  type Rule,
} from "@switchyard/tensor/graph";
import { activationRule, type Activation } from "../../layers/experts.ts";
import type { NormKind } from "../../layers/normalization.ts";

/** The mixtures of a model, by their sizes. */
export interface PlanMoe {
  readonly experts: number;
  readonly k: number;
  /** The width inside an expert; that of the dense networks by default. */
  readonly hidden?: number;
  /** Experts that every token goes through; none by default. */
  readonly sharedExperts?: number;
  /** `noisy`, the default as in `transformer`: a gate and as much again for the noise. `sigmoid`: a gate and a bias. `softmax`: a gate. */
  readonly router?: "noisy" | "softmax" | "sigmoid";
}

/** Attention through a narrow middle, as in DeepSeek-V2: what is kept of a position is `keyValueRank + ropeDim` numbers. */
export interface LatentAttention {
  readonly queryRank: number;
  readonly keyValueRank: number;
  /** Of each head, the widths of queries and keys without and with positions, and that of values. */
  readonly plainDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
}

/** A model by its sizes alone: those of `transformer`, and what other models need besides. */
export interface PlanConfig {
  readonly vocab: number;
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads?: number;
  /** The width of a head; `dim / heads` by default. */
  readonly headDim?: number;
  readonly latent?: LatentAttention;
  /** Whether queries and keys are normalised, each as a whole; false by default. */
  readonly qkNorm?: boolean;
  /** The width inside a feed-forward network. */
  readonly hidden: number;
  readonly context: number;
  readonly moe: PlanMoe | null;
  /** Every which layer has a mixture, counted from the last; 1 by default. */
  readonly moeEvery?: number;
  /** How many of the first layers have none; 0 by default. */
  readonly denseLayers?: number;
  /** Layers of an encoder before, which the decoder's also attend to; none by default. */
  readonly encoderLayers?: number;
  /** `relu` by default. */
  readonly activation?: Activation;
  /** `rms` by default. */
  readonly norm?: NormKind;
  /** Whether feed-forward networks and experts have biases; true by default. */
  readonly bias?: boolean;
  /** Where positions come from: rotation, the default; a table of the context; or a bias by distance for each head. */
  readonly positions?: "rotary" | "table" | "relative";
  /** Whether the table of tokens is also the last matrix; false by default. */
  readonly tie?: boolean;
}

/** A config with all that is optional made plain. */
export type FullPlanConfig = Omit<Required<PlanConfig>, "latent" | "moe"> & {
  readonly latent?: LatentAttention;
  readonly moe: Required<PlanMoe> | null;
};

const objectOrNull: Rule = {
  must: "the sizes of a mixture, or null for none",
  holds: (value) => typeof value === "object",
};

/** @throws {ConfigError} on a missing, unknown or impossible size. */
export function fullConfig(config: PlanConfig): FullPlanConfig {
  checkOptions("plan", config, {
    vocab: positiveInteger,
    dim: positiveInteger,
    layers: positiveInteger,
    heads: positiveInteger,
    kvHeads: positiveInteger,
    headDim: positiveInteger,
    latent: objectOrNull,
    qkNorm: flag,
    hidden: positiveInteger,
    context: positiveInteger,
    moe: objectOrNull,
    moeEvery: positiveInteger,
    denseLayers: wholeNumber,
    encoderLayers: wholeNumber,
    activation: activationRule,
    norm: oneOf("layer", "rms"),
    bias: flag,
    positions: oneOf("rotary", "table", "relative"),
    tie: flag,
  });
  requireOptions("plan", config, "vocab", "dim", "layers", "heads", "hidden", "context", "moe");
  if (config.latent) checkLatent(config.latent);
  const {
    kvHeads = config.heads,
    qkNorm = false,
    moeEvery = 1,
    denseLayers = 0,
    encoderLayers = 0,
    activation = "relu",
    norm = "rms",
    bias = true,
    positions = "rotary",
    tie = false,
  } = config;
  const moe = config.moe && fullMoe(config.moe, config.hidden);
  const plain = { kvHeads, headDim: headDimOf(config), qkNorm, moeEvery, denseLayers, encoderLayers };
  return { ...config, ...plain, activation, norm, bias, positions, tie, moe };
}

function headDimOf({ dim, heads, headDim }: PlanConfig): number {
  if (headDim !== undefined) return headDim;
  if (dim % heads === 0) return dim / heads;
  throw new ConfigError(`plan: ${heads} heads do not divide dim = ${dim}; give headDim`);
}

function checkLatent(latent: LatentAttention): void {
  checkOptions("plan: latent", latent, {
    queryRank: positiveInteger,
    keyValueRank: positiveInteger,
    plainDim: positiveInteger,
    ropeDim: positiveInteger,
    valueDim: positiveInteger,
  });
  requireOptions("plan: latent", latent, "queryRank", "keyValueRank", "plainDim", "ropeDim", "valueDim");
}

function fullMoe(moe: PlanMoe, width: number): Required<PlanMoe> {
  checkOptions("plan: moe", moe, {
    experts: positiveInteger,
    k: positiveInteger,
    hidden: positiveInteger,
    sharedExperts: wholeNumber,
    router: oneOf("noisy", "softmax", "sigmoid"),
  });
  requireOptions("plan: moe", moe, "experts", "k");
  if (moe.k > moe.experts)
    throw new ConfigError(
      `plan: moe: k = ${moe.k} but there are ${moe.experts} experts; choose k from 1 to ${moe.experts}`,
    );
  const { hidden = width, sharedExperts = 0, router = "noisy" } = moe;
  return { ...moe, hidden, sharedExperts, router };
}

/** Whether a layer of the decoder, or of the encoder, has a mixture. */
export const isSparse = ({ moe, moeEvery, denseLayers }: FullPlanConfig, layer: number, layers: number): boolean =>
  moe !== null && layer >= denseLayers && (layers - 1 - layer) % moeEvery === 0;
