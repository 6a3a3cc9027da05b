import { random, zeros, type Key, type Tensor } from "@switchyard/tensor";
import { checkOptions, flag, nonNegative, oneOf, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import { activations, type Activation } from "./experts.ts";
import { affine } from "./linear.ts";

export interface FeedForwardOptions {
  /** D, the width of what goes in and comes out. */
  readonly dim: number;
  /** H, the width between. */
  readonly hidden: number;
  /** `relu` by default. */
  readonly activation?: Activation;
  /** Whether there are `b1` and `b2`; true by default. */
  readonly bias?: boolean;
  /** The standard deviation of the first `w2`; `1 / sqrt(hidden)` by default. */
  readonly outStd?: number;
}

/** One expert's parameters, without the axis of experts. */
export interface FeedForwardParams {
  /** `[D, H]`. */
  readonly w1: Tensor;
  /** `[H]`. */
  readonly b1?: Tensor;
  /** `[H, D]`. */
  readonly w2: Tensor;
  /** `[D]`. */
  readonly b2?: Tensor;
  /** `[D, H]`, of `swiglu`. */
  readonly w3?: Tensor;
}

export interface FeedForward {
  init(key: Key): FeedForwardParams;
  /** `[…, D] -> […, D]`. */
  apply(params: FeedForwardParams, x: Tensor): Tensor;
}

/**
 * The dense network that a mixture of experts stands in for: `act(x w1 + b1) w2 + b2`, or for `swiglu`
 * `(silu(x w1 + b1) * (x w3)) w2 + b2`. Starts as an expert does.
 *
 * @throws {ConfigError} on a bad option.
 */
export function feedForward(options: FeedForwardOptions): FeedForward {
  checkOptions("feedForward", options, {
    dim: positiveInteger,
    hidden: positiveInteger,
    activation: oneOf(...Object.keys(activations)),
    bias: flag,
    outStd: nonNegative,
  });
  requireOptions("feedForward", options, "dim", "hidden");
  const { dim, hidden, activation = "relu", bias = true, outStd = hidden ** -0.5 } = options;
  return {
    init(key) {
      const [k1, k2, k3] = random.split(key, 3);
      return {
        w1: random.normal(k1, [dim, hidden]).mul(dim ** -0.5),
        ...(bias && { b1: zeros([hidden]) }),
        w2: random.normal(k2, [hidden, dim]).mul(outStd),
        ...(bias && { b2: zeros([dim]) }),
        ...(activation === "swiglu" && { w3: random.normal(k3, [dim, hidden]).mul(dim ** -0.5) }),
      };
    },
    apply(p, x) {
      const inner = activations[activation](affine("feedForward", x, p.w1, p.b1)); // […, H]
      return affine("feedForward", p.w3 ? inner.mul(affine("feedForward", x, p.w3)) : inner, p.w2, p.b2);
    },
  };
}
