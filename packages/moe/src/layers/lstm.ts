import { arange, random, ShapeError, stack, type Key, type Tensor } from "@switchyard/tensor";
import { checkOptions, describe, fullLike, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import { affine } from "./linear.ts";

export interface LstmOptions {
  /** The width of what goes in. */
  readonly in: number;
  /** H, the width of the state. */
  readonly hidden: number;
}

export interface LstmParams {
  /** `[in, 4 H]`: the input, forget, candidate and output gates, side by side. */
  readonly input: Tensor;
  /** `[H, 4 H]`. */
  readonly hidden: Tensor;
  /** `[4 H]`. */
  readonly bias: Tensor;
}

/** What an LSTM carries from step to step. */
export interface LstmState {
  /** `[B, H]`, what it shows. */
  readonly h: Tensor;
  /** `[B, H]`, what it remembers. */
  readonly c: Tensor;
}

export interface Lstm {
  init(key: Key): LstmParams;
  /** A whole sequence from a state of zeros: `[B, S, in] -> [B, S, H]`. */
  apply(params: LstmParams, x: Tensor): Tensor;
  /** A sequence that goes on from a state. */
  step(params: LstmParams, x: Tensor, state: LstmState): { readonly output: Tensor; readonly state: LstmState };
}

/**
 * A long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000):
 * `c' = f·c + i·g`, `h' = o·tanh(c')`, where i, f, o are sigmoids and g a tanh of `x input + h hidden + bias`.
 *
 * The loop over time is unrolled into the graph, S cells long: every step needs the one before, and a graph has no loops. What
 * does not need the step before, the product with `input`, is one matrix product for all steps. The graph is the same for each
 * batch of one shape, so it is planned once.
 *
 * Weights start normal with standard deviation `1 / sqrt(fan in)`; the bias at zero, but 1 for the forget gate, so that the
 * memory is kept at first.
 *
 * @throws {ConfigError} on a bad option.
 */
export function lstm(options: LstmOptions): Lstm {
  checkOptions("lstm", options, { in: positiveInteger, hidden: positiveInteger });
  requireOptions("lstm", options, "in", "hidden");
  const { in: width, hidden } = options;

  const step: Lstm["step"] = (params, x, state) => {
    if (x.ndim !== 3) throw new ShapeError(`lstm: takes sequences [batch, steps, ${width}] (got ${describe(x)})`);
    if (x.shape[1] === 0) throw new ShapeError(`lstm: a sequence has at least one step (got ${describe(x)})`);
    const arriving = unstack(affine("lstm", x, params.input, params.bias), 1); // S of [B, 4 H]
    const outputs: Tensor[] = [];
    for (const fromInput of arriving) {
      state = cell(fromInput.add(state.h.matmul(params.hidden)), state.c);
      outputs.push(state.h);
    }
    return { output: stack(outputs, 1), state };
  };
  const apply: Lstm["apply"] = (params, x) => {
    const zero = fullLike(x, 0, [x.shape[0], hidden], x.dtype);
    return step(params, x, { h: zero, c: zero }).output;
  };
  const init: Lstm["init"] = (key) => {
    const [inputKey, hiddenKey] = random.split(key, 2);
    return {
      input: random.normal(inputKey, [width, 4 * hidden]).mul(width ** -0.5),
      hidden: random.normal(hiddenKey, [hidden, 4 * hidden]).mul(hidden ** -0.5),
      bias: arange(4).eq(1).cast("f32").repeat(hidden), // 1 for the forget gate, the second
    };
  };
  return { init, apply, step };
}

function cell(gates: Tensor, c: Tensor): LstmState {
  const [i, f, g, o] = gates.split(4, 1); // each [B, H]
  const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
  return { h: o.sigmoid().mul(next.tanh()), c: next };
}

/**
 * The parts of extent 1 along an axis, without it. By halving: the gradient of a slice is a border of zeros around it, so S slices of
 * the whole would add S tensors as large as the whole, and halves add up to `log2 S` of them.
 */
function unstack(x: Tensor, axis: number): Tensor[] {
  const extent = x.shape[axis];
  if (extent === 1) return [x.squeeze(axis)];
  const half = Math.ceil(extent / 2);
  return x.split([half, extent - half], axis).flatMap((part) => unstack(part, axis));
}
