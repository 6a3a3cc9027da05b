import { ConfigError, random, ShapeError, zeros, type Key, type Tensor } from "@switchyard/tensor";
import {
  checkOptions,
  describe,
  flag,
  inWords,
  isTensor,
  nonNegative,
  positiveInteger,
  requireOptions,
} from "@switchyard/tensor/graph";

export interface LinearOptions {
  /** The width of what goes in. */
  readonly in: number;
  /** The width of what comes out. */
  readonly out: number;
  /** Whether there is a bias; true by default. */
  readonly bias?: boolean;
  /** The standard deviation of the first weights; `1 / sqrt(in)` by default, which keeps the variance of what goes in. */
  readonly initStd?: number;
}

export interface LinearParams {
  /** `[in, out]`. */
  readonly weight: Tensor;
  /** `[out]`. */
  readonly bias?: Tensor;
}

export interface Linear {
  init(key: Key): LinearParams;
  /** `[…, in] -> […, out]`. */
  apply(params: LinearParams, x: Tensor): Tensor;
}

/**
 * `x weight + bias`. Weights start normal, the bias at zero.
 *
 * @throws {ConfigError} on a bad option.
 */
export function linear(options: LinearOptions): Linear {
  checkOptions("linear", options, { in: positiveInteger, out: positiveInteger, bias: flag, initStd: nonNegative });
  requireOptions("linear", options, "in", "out");
  const { in: width, out, bias = true, initStd = width ** -0.5 } = options;
  return {
    init: (key) => ({
      weight: random.normal(key, [width, out]).mul(initStd),
      ...(bias && { bias: zeros([out]) }),
    }),
    apply: (params, x) => affine("linear", x, params.weight, params.bias),
  };
}

/** @throws {ConfigError} if a layer is given something else, such as its arguments the wrong way round. */
export function checkTensor(op: string, x: unknown): void {
  if (isTensor(op, x)) return;
  throw new ConfigError(`${op}: apply takes the parameters, then a tensor, got ${inWords(x)}`);
}

/**
 * `x weight + bias` over the last axis of x, all leading axes as the rows of one matrix.
 *
 * @throws {ShapeError} if the last axis of x is not as long as the weight is high.
 */
export function affine(op: string, x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  checkTensor(op, x);
  const [width, out] = weight.shape;
  if (x.ndim === 0 || x.shape.at(-1) !== width)
    throw new ShapeError(`${op}: the last axis of x must be ${width} (got ${describe(x)})`);
  const product = x.reshape([x.size / width, width]).matmul(weight);
  return (bias ? product.add(bias) : product).reshape([...x.shape.slice(0, -1), out]);
}
