import { dropout, groupedMatmul, random, scatter, zeros, type Key, type Tensor } from "@switchyard/tensor";
import { customVjp } from "@switchyard/autograd";
import { checkOptions, flag, fraction, oneOf, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import { onlyLive } from "../dispatch/dispatch.ts";
import type { Routing, Slots } from "../routing/routing.ts";

export type Activation = "relu" | "gelu" | "silu" | "swiglu";

/** What a feed-forward network does between its two matrices. */
export const activations = {
  relu: (x) => x.relu(),
  gelu: (x) => x.gelu(),
  silu: (x) => x.silu(),
  swiglu: (x) => x.silu(),
} satisfies { [A in Activation]: (x: Tensor) => Tensor };

export const activationRule = oneOf(...Object.keys(activations));

export interface ExpertsOptions {
  /** D, the width of what goes in and comes out. */
  readonly dim: number;
  /** H, the width between. */
  readonly hidden: number;
  /** E. */
  readonly experts: number;
  /** `relu` by default. */
  readonly activation?: Activation;
  /** Whether there are `b1` and `b2`; true by default. */
  readonly bias?: boolean;
  /** The share of the values between the matrices that dropout zeroes where a key is given; 0 by default. */
  readonly dropout?: number;
}

export interface ExpertsParams {
  /** `[E, D, H]`. */
  readonly w1: Tensor;
  /** `[E, H]`. */
  readonly b1?: Tensor;
  /** `[E, H, D]`. */
  readonly w2: Tensor;
  /** `[E, D]`. */
  readonly b2?: Tensor;
  /** `[E, D, H]`, of `swiglu`. */
  readonly w3?: Tensor;
}

export interface Experts {
  init(key: Key): ExpertsParams;
  /** Each slot's features through its expert: `[N, D] -> [N, D]`, in expert order. What no expert sees stays zero. */
  apply(params: ExpertsParams, rows: Tensor, routing: Routing, key?: Key): Tensor;
  /** Every token through every expert: `[T, D] -> [E, T, D]`. */
  applyAll(params: ExpertsParams, x: Tensor, key?: Key): Tensor;
  /** Rows of its own through each expert: `[E, n, D] -> [E, n, D]`. */
  applyEach(params: ExpertsParams, rows: Tensor, key?: Key): Tensor;
}

/** How a network's three steps are done for rows sorted by expert, or for all experts at once. */
interface Arithmetic {
  readonly product: (x: Tensor, weights: Tensor) => Tensor;
  readonly shift: (x: Tensor, bias: Tensor | undefined) => Tensor;
}

/**
 * E feed-forward networks of one shape: `act(x w1 + b1) w2 + b2`, or for `swiglu` `(silu(x w1 + b1) * (x w3)) w2 + b2`
 * (Shazeer 2020, "GLU Variants Improve Transformer", with biases).
 *
 * Weights start normal with standard deviation `1 / sqrt(fan in)`: D for `w1` and `w3`, H for `w2`. Biases start at zero.
 *
 * @throws {ConfigError} on a bad option.
 */
export function experts(options: ExpertsOptions): Experts {
  checkOptions("experts", options, {
    dim: positiveInteger,
    hidden: positiveInteger,
    experts: positiveInteger,
    activation: activationRule,
    bias: flag,
    dropout: fraction,
  });
  requireOptions("experts", options, "dim", "hidden", "experts");
  const { dim, hidden, experts: count, activation = "relu", bias = true, dropout: rate = 0 } = options;
  const act = activations[activation];

  const network = (p: ExpertsParams, x: Tensor, key: Key | undefined, { product, shift }: Arithmetic): Tensor => {
    const active = act(shift(product(x, p.w1), p.b1)); // [N, H] or [E, T, H]
    const inner = p.w3 ? active.mul(product(x, p.w3)) : active;
    return shift(product(key && rate > 0 ? dropout(key, inner, rate) : inner, p.w2), p.b2);
  };
  const applyEach: Experts["applyEach"] = (params, rows, key) =>
    network(params, rows, key, {
      product: (x, weights) => x.matmul(weights),
      shift: (x, b) => (b ? x.add(b.expandDims(1)) : x),
    });

  return {
    init(key) {
      const [k1, k2, k3] = random.split(key, 3);
      const scaled = (k: Key, fanIn: number, fanOut: number): Tensor =>
        random.normal(k, [count, fanIn, fanOut]).mul(fanIn ** -0.5);
      return {
        w1: scaled(k1, dim, hidden),
        ...(bias && { b1: zeros([count, hidden]) }),
        w2: scaled(k2, hidden, dim),
        ...(bias && { b2: zeros([count, dim]) }),
        ...(activation === "swiglu" && { w3: scaled(k3, dim, hidden) }),
      };
    },
    apply: (params, rows, { slots, offsets }, key) =>
      network(params, rows, key, {
        product: (x, weights) => groupedMatmul(x, weights, offsets),
        shift: (x, b) => (b ? x.add(biasRows(b, slots)) : x),
      }),
    applyAll: (params, x, key) => applyEach(params, x.expandDims(0), key),
    applyEach,
  };
}

/** Each slot's own bias: `[E, H] -> [N, H]`, zero in slots that no expert sees. */
function biasRows(bias: Tensor, slots: Slots): Tensor {
  const expert = slots.live ? slots.expert.minimum(bias.shape[0] - 1) : slots.expert;
  return onlyLive(gatherSorted(bias, expert), slots);
}

/** A gather by an ascending index: its gradient adds up runs, which needs no sort. */
const gatherSorted: (x: Tensor, index: Tensor) => Tensor = /* @__PURE__ */ customVjp({
  forward: (x: Tensor, index: Tensor) => x.gather(index, 0),
  backward: (ct, _y, x, index) => [scatter(ct, index, x.shape, { sorted: true }), null],
});
