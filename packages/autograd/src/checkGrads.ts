import { ConfigError, DeviceError, DTypeError, GradientError, tensor, type Tensor } from "@switchyard/tensor";
import {
  aFunction,
  anObject,
  checkOptions,
  describe,
  inWords,
  isFloat,
  leafStorage,
  nonNegative,
  positiveInteger,
  positiveNumber,
  topologicalOrder,
  type AnyNode,
  type Rules,
} from "@switchyard/tensor/graph";
import {
  cotangents,
  derivativeFault,
  exactly,
  gradientOf,
  type Checking,
  type Floats,
  type GradMode,
  type Kink,
} from "./checkDerivative.ts";
import { describeOrigin } from "./describeOrigin.ts";
import { faultyRule } from "./faultyRule.ts";
import { treeFlatten, treeLeaves, treePaths, treeUnflatten } from "./tree.ts";
import { rejectPromise } from "./vjp.ts";

export interface CheckGradsOptions {
  /** Up to which derivative: 2 checks the gradient and the gradient of the gradient. */
  readonly order?: number;
  readonly modes?: readonly GradMode[];
  /** The step of the differences, relative to elements above 1. */
  readonly eps?: number;
  readonly rtol?: number;
  readonly atol?: number;
  /** Called for each entry at a kink, which passes with any finite gradient: to count them, refuse them, or discard the case (`fc.pre(false)`). */
  readonly onKink?: (kink: Kink) => void;
  /** Chooses the random projections; the same ones by default. */
  readonly key?: Tensor;
}

const rules: Rules<CheckGradsOptions> = {
  order: positiveInteger,
  modes: {
    must: 'an array of "reverse" and "forward"',
    holds: (value) => Array.isArray(value) && value.every((mode) => mode === "reverse" || mode === "forward"),
  },
  eps: positiveNumber,
  rtol: nonNegative,
  atol: nonNegative,
  onKink: aFunction,
  key: anObject,
};

/**
 * Checks gradients against finite differences, in f64 on `cpu`: float arguments are cast, and these are the defaults inside `f`.
 * First along a random direction, and, where that fails, entry by entry. Where one-sided differences disagree there is a kink: any finite
 * gradient passes, but that of entries which move together off their kinks, as tied elements do, must add up.
 *
 * @param f synchronous, from trees to a tree of float tensors; integers in either are passed over.
 * @throws {GradientError} naming the worst entry (argument, path, index) and the operation whose rule is at fault, a tensor that `f` closes
 * over in another dtype, or an `f` that gives other values when called again.
 */
export async function checkGrads<A extends unknown[]>(
  f: (...args: A) => unknown,
  args: A,
  options: CheckGradsOptions = {},
): Promise<void> {
  checkOptions("checkGrads", options, rules);
  if (!Array.isArray(args))
    throw new ConfigError(`checkGrads: the arguments of f must be an array, got ${inWords(args)}; write [x]`);
  const {
    order = 2,
    modes = ["reverse", "forward"],
    eps = 1e-5,
    rtol = 1e-5,
    atol = 1e-8,
    onKink = () => {},
    key,
  } = options;
  const random = generator(key ? [...(await key.data())] : [0]);
  const leaves = treeLeaves(args);
  const exact = await Promise.all(leaves.map(toOracle));
  const [, structure] = treeFlatten(args);
  const at = [...leaves.keys()].filter((i) => isFloat(leaves[i].dtype));
  if (at.length === 0) throw new GradientError("checkGrads: no argument holds a float tensor");
  let floats: Floats = (xs) => {
    const each = exact.map((x, i) => (at.includes(i) ? xs[at.indexOf(i)] : x));
    return floatOutputs(callExactly(f, treeUnflatten<A>(structure, each), args));
  };
  const checking: Checking = { paths: at.map((i) => treePaths(args)[i]), modes, eps, rtol, atol, onKink, random };
  const xs = at.map((i) => exact[i]);
  for (let level = 1; level <= order; level++) {
    const fault = await derivativeFault(floats, xs, checking, level);
    if (fault !== undefined) throw new GradientError(`checkGrads: ${fault}${await blame(floats, xs, checking)}`);
    floats = gradientOf(floats, cotangents(floats(xs), random));
  }
}

/** Which operation's rule is at fault, at the end of a message. */
async function blame(f: Floats, xs: readonly Tensor[], checking: Checking): Promise<string> {
  const node = await faultyRule(f, xs, checking);
  if (node === undefined) return "";
  return node.op === "detach"
    ? `; f has a ${describeOrigin(node)}`
    : `; the rule at fault is that of ${describeOrigin(node)}`;
}

/** A copy on the device and in the dtype that are exact enough to check with. */
async function toOracle(x: Tensor): Promise<Tensor> {
  const data = await x.data();
  const { shape } = x;
  return isFloat(x.dtype)
    ? tensor(Float64Array.from(data), { shape, device: "cpu" })
    : tensor(data, { shape, dtype: x.dtype, device: "cpu" });
}

function callExactly<A extends unknown[]>(f: (...args: A) => unknown, exact: A, args: A): unknown {
  try {
    return rejectPromise(
      "checkGrads",
      exactly(() => f(...exact)),
    );
  } catch (error) {
    if (!(error instanceof DTypeError || error instanceof DeviceError)) throw error;
    const outside = closedOver(f, args);
    if (outside.length === 0) throw error;
    throw new GradientError(
      `checkGrads: f closes over ${outside.map(name).join(", ")}; pass it as an argument, so that it is cast to f64 on cpu too`,
      { cause: error },
    );
  }
}

/** Tensors that `f` reads besides its arguments and that are not f64 on cpu. */
function closedOver<A extends unknown[]>(f: (...args: A) => unknown, args: A): AnyNode[] {
  const given = new Set(treeLeaves(args).flatMap((x) => topologicalOrder([x.node])));
  const now = tensor(0, { device: "cpu" }).node.id;
  const reached = topologicalOrder(treeLeaves(f(...args)).map((y) => y.node));
  return reached.filter(
    (n) => leafStorage(n) && n.id < now && !given.has(n) && (n.dtype === "f32" || n.device !== "cpu"),
  );
}

const name = (leaf: AnyNode): string => `${describe(leaf)} on ${leaf.device} made by ${leafStorage(leaf)!.owner.op}`;

function floatOutputs(out: unknown): Tensor[] {
  const ys = treeLeaves(out).filter((y) => isFloat(y.dtype));
  if (ys.length === 0) throw new GradientError("checkGrads: f returned no float tensor");
  const narrow = ys.find((y) => y.dtype !== "f64");
  if (narrow)
    throw new GradientError(
      `checkGrads: f returned ${describe(narrow)} for f64 arguments; cast to x.dtype, not to "f32"`,
    );
  return ys;
}

/** Numbers of either sign with magnitude in [0.5, 1), by a multiplicative generator: the same on every machine. */
function generator(seed: readonly number[]): () => number {
  let state = seed.reduce((hash, word) => Math.imul(hash ^ word, 0x9e3779b1) >>> 0, 0x2545f491) || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const fraction = ((state >>> 1) & 0xffffff) / 0x1000000;
    return (state & 1 ? 1 : -1) * (0.5 + fraction / 2);
  };
}
