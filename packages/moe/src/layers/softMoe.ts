import { DTypeError, ones, random, ShapeError, softmax, where, type Key, type Tensor } from "@switchyard/tensor";
import {
  checkFloat,
  checkOptions,
  describe,
  flag,
  positiveInteger,
  requireOptions,
  sameShape,
} from "@switchyard/tensor/graph";
import { activationRule, experts as expertNetworks, type Activation, type ExpertsParams } from "./experts.ts";

export interface SoftMoeOptions {
  /** D, the width of what goes in and comes out. */
  readonly dim: number;
  /** H, the width inside an expert. */
  readonly hidden: number;
  /** E. */
  readonly experts: number;
  /** P, slots of each expert; 1 by default. */
  readonly slots?: number;
  /** `gelu` by default. */
  readonly activation?: Activation;
  /** Whether experts have biases; true by default. */
  readonly bias?: boolean;
}

export interface SoftMoeParams {
  /** `[D, E · P]`: a direction for each slot. */
  readonly phi: Tensor;
  /** A scalar, 1 at first: how sharp the mixing is. */
  readonly scale: Tensor;
  readonly experts: ExpertsParams;
}

export interface SoftMoeResult {
  /** The shape of x; zero for padding. */
  readonly output: Tensor;
  /** `[…, T, E · P]`: what each slot is mixed from; each column adds up to 1. */
  readonly dispatch: Tensor;
  /** `[…, T, E · P]`: what each token is mixed from; each row adds up to 1, or is zero for padding. */
  readonly combine: Tensor;
}

export interface SoftMoe {
  init(key: Key): SoftMoeParams;
  /**
   * @param x `[…, T, D]`: the tokens of a sequence are mixed with each other, sequences are not.
   * @param options `mask`: `bool[…, T]`, true for a real token.
   */
  apply(params: SoftMoeParams, x: Tensor, options?: { readonly mask?: Tensor }): SoftMoeResult;
}

/**
 * A mixture without choices: each slot of an expert sees a weighted mean of all tokens, each token gets a weighted mean of all slots. With
 * `l = unit(x) · scale · unit(phi)`: dispatch is the softmax of l over tokens, combine that over slots, and the output
 * `combine · experts(dispatchᵀ x)`. Nothing to balance, nothing dropped, a gradient everywhere; but every token sees every other, so
 * that it is for encoders.
 *
 * Source: Puigcerver et al. 2023, "From Sparse to Soft Mixtures of Experts", with the normalisation of its section 2.3.
 *
 * @throws {ConfigError} on a bad option.
 */
export function softMoe(options: SoftMoeOptions): SoftMoe {
  checkOptions("softMoe", options, {
    dim: positiveInteger,
    hidden: positiveInteger,
    experts: positiveInteger,
    slots: positiveInteger,
    activation: activationRule,
    bias: flag,
  });
  requireOptions("softMoe", options, "dim", "hidden", "experts");
  const { dim, hidden, experts: count, slots = 1, activation = "gelu", bias } = options;
  const networks = expertNetworks({ dim, hidden, experts: count, activation, bias });
  return {
    init(key) {
      const [phiKey, expertsKey] = random.split(key, 2);
      return {
        phi: random.normal(phiKey, [dim, count * slots]).mul(dim ** -0.5),
        scale: ones([]),
        experts: networks.init(expertsKey),
      };
    },
    apply({ phi, scale, experts }, x, { mask } = {}) {
      checkInput(x, mask, dim);
      const [tokens] = x.shape.slice(-2);
      const batch = x.shape.slice(0, -2);
      const sequences = batch.reduce((product, extent) => product * extent, 1);
      const real = mask?.reshape([sequences, tokens, 1]);
      const given = x.reshape([sequences, tokens, dim]); // [B, T, D]
      const flat = real ? where(real, given, 0) : given; // padding may hold anything, NaN too
      const logits = unit(flat, -1).matmul(unit(phi, 0).mul(scale)); // [B, T, E P]
      const dispatch = softmax(real ? where(real, logits, -1e30) : logits, 1);
      const even = softmax(logits, -1);
      const combine = real ? where(real, even, 0) : even;
      const mixed = dispatch.transpose(1, 2).matmul(flat); // [B, E P, D]
      const byExpert = mixed.reshape([sequences, count, slots, dim]).transpose(0, 1); // [E, B, P, D]
      const answers = networks.applyEach(experts, byExpert.reshape([count, sequences * slots, dim]));
      const back = answers.reshape([count, sequences, slots, dim]).transpose(0, 1);
      const output = combine.matmul(back.reshape([sequences, count * slots, dim])); // [B, T, D]
      const shaped = (t: Tensor): Tensor => t.reshape([...batch, tokens, count * slots]);
      return { output: output.reshape(x.shape), dispatch: shaped(dispatch), combine: shaped(combine) };
    },
  };
}

/** Vectors of length 1; close to it for short ones, so that zero stays zero and has a gradient. */
const unit = (v: Tensor, axis: number): Tensor => v.mul(v.square().sum(axis, { keepDims: true }).add(1e-6).rsqrt());

function checkInput(x: Tensor, mask: Tensor | undefined, dim: number): void {
  checkFloat("softMoe", x);
  if (x.ndim < 2 || x.shape.at(-1) !== dim)
    throw new ShapeError(`softMoe: x must be […, tokens, ${dim}] (got ${describe(x)})`);
  if (mask && mask.dtype !== "bool") throw new DTypeError(`softMoe: mask must be bool (got ${describe(mask)})`);
  if (mask && !sameShape(mask.shape, x.shape.slice(0, -1)))
    throw new ShapeError(`softMoe: mask must be [${x.shape.slice(0, -1)}], one for each token (got ${describe(mask)})`);
}
