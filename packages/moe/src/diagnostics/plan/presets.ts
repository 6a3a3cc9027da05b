import type { PlanConfig } from "./config.ts";

/** Models that have been published, and the demo of this repository, by their sizes. */
export const presets = {
  /** Jiang et al. 2024, "Mixtral of Experts". */
  "mixtral-8x7b": {
    vocab: 32_000,
    dim: 4096,
    layers: 32,
    heads: 32,
    kvHeads: 8,
    hidden: 14_336,
    context: 32_768,
    moe: { experts: 8, k: 2, router: "softmax" },
    activation: "swiglu",
    bias: false,
  },
  /** Fedus et al. 2021, "Switch Transformers", on T5's base: an encoder and a decoder, a mixture in every second layer of each. */
  "switch-base-8": {
    vocab: 32_128,
    dim: 768,
    layers: 12,
    encoderLayers: 12,
    heads: 12,
    hidden: 3072,
    context: 512,
    moe: { experts: 8, k: 1, router: "softmax" },
    moeEvery: 2,
    bias: false,
    positions: "relative",
    tie: true,
  },
  /** Muennighoff et al. 2024, "OLMoE". */
  "olmoe-1b-7b": {
    vocab: 50_304,
    dim: 2048,
    layers: 16,
    heads: 16,
    qkNorm: true,
    hidden: 1024,
    context: 4096,
    moe: { experts: 64, k: 8, router: "softmax" },
    activation: "swiglu",
    bias: false,
  },
  /** DeepSeek-AI 2024, "DeepSeek-V3", without the module that predicts a second token. */
  "deepseek-v3": {
    vocab: 129_280,
    dim: 7168,
    layers: 61,
    heads: 128,
    headDim: 192,
    latent: { queryRank: 1536, keyValueRank: 512, plainDim: 128, ropeDim: 64, valueDim: 128 },
    hidden: 18_432,
    context: 131_072,
    moe: { experts: 256, k: 8, hidden: 2048, sharedExperts: 1, router: "sigmoid" },
    denseLayers: 3,
    activation: "swiglu",
    bias: false,
  },
  /** What `npm start` trains, on the characters of Moby-Dick. */
  demo: {
    vocab: 77,
    dim: 128,
    layers: 4,
    heads: 4,
    hidden: 256,
    context: 128,
    moe: { experts: 8, k: 2 },
  },
} as const satisfies Readonly<Record<string, PlanConfig>>;

export type PresetName = keyof typeof presets;
