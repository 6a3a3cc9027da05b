import { isSparse, type FullPlanConfig } from "./config.ts";

/** Parameters by what they are for. */
export interface ParameterCount {
  /** All that are held. */
  readonly total: number;
  /** Those that one token meets: of the experts, the k that it is sent to. */
  readonly active: number;
  readonly embedding: number;
  readonly attention: number;
  /** Dense feed-forward networks. */
  readonly feedForward: number;
  readonly experts: number;
  readonly sharedExperts: number;
  readonly routers: number;
  readonly norms: number;
  readonly head: number;
  /** Numbers of the matrices that one token is multiplied with. */
  readonly multiplied: number;
}

/** One network of a width: two matrices, or the three of swiglu, and biases. */
const networkSize = ({ dim, activation, bias }: FullPlanConfig, hidden: number): number =>
  (activation === "swiglu" ? 3 : 2) * dim * hidden + (bias ? hidden + dim : 0);

/** Queries, keys, values and what puts heads together. */
function attentionSize({ dim, heads, kvHeads, headDim, latent, qkNorm }: FullPlanConfig): number {
  if (!latent) {
    const norms = qkNorm ? (heads + kvHeads) * headDim : 0;
    return dim * headDim * (2 * heads + 2 * kvHeads) + norms;
  }
  const { queryRank, keyValueRank, plainDim, ropeDim, valueDim } = latent;
  const queries = dim * queryRank + queryRank + queryRank * heads * (plainDim + ropeDim);
  const keysAndValues = dim * (keyValueRank + ropeDim) + keyValueRank + keyValueRank * heads * (plainDim + valueDim);
  return queries + keysAndValues + heads * valueDim * dim;
}

const routerSizes = {
  noisy: (dim: number, experts: number) => 2 * dim * experts,
  softmax: (dim: number, experts: number) => dim * experts,
  sigmoid: (dim: number, experts: number) => dim * experts + experts,
};

/** Buckets of distance that a relative bias tells apart, as in T5. */
const relativeBuckets = 32;

export function countParameters(config: FullPlanConfig): ParameterCount {
  const { vocab, dim, layers, encoderLayers, heads, context, moe, norm, positions, tie } = config;
  const sparseIn = (count: number): number =>
    Array.from({ length: count }, (_, i) => isSparse(config, i, count)).filter(Boolean).length;
  const all = layers + encoderLayers;
  const sparse = sparseIn(layers) + sparseIn(encoderLayers);
  const hasEncoder = encoderLayers > 0;
  const ofPositions = {
    rotary: 0,
    table: context * dim,
    relative: relativeBuckets * heads * (hasEncoder ? 2 : 1),
  }[positions];
  const normSize = norm === "layer" ? 2 * dim : dim;
  const expert = moe ? networkSize(config, moe.hidden) : 0;
  const parts = {
    embedding: vocab * dim + ofPositions,
    attention: (all + (hasEncoder ? layers : 0)) * attentionSize(config),
    feedForward: (all - sparse) * networkSize(config, config.hidden),
    experts: sparse * (moe?.experts ?? 0) * expert,
    sharedExperts: moe && moe.sharedExperts > 0 ? sparse * networkSize(config, moe.sharedExperts * moe.hidden) : 0,
    routers: moe ? sparse * routerSizes[moe.router](dim, moe.experts) : 0,
    norms: (2 * all + (hasEncoder ? layers + 2 : 1)) * normSize,
    head: tie ? 0 : vocab * dim,
  };
  const total = Object.values(parts).reduce((sum, part) => sum + part, 0);
  const idle = moe ? sparse * (moe.experts - moe.k) * expert : 0;
  // Looking up a row, and scaling by a norm, are no products of matrices; the last matrix is one, even if it is the table.
  const multiplied = total - idle - parts.embedding - parts.norms - parts.head + vocab * dim;
  return { total, active: total - idle, ...parts, multiplied };
}
