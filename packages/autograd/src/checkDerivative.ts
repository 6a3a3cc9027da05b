import { GradientError, tensor, where, type Tensor } from "@switchyard/tensor";
import { topologicalOrder, withDefaults } from "@switchyard/tensor/graph";
import { compareDerivative, smallStep, type Comparison, type Samples } from "./finiteDifferences.ts";
import { indexAt } from "./testing/compare.ts";
import { jvp, vjp } from "./vjp.ts";

export type GradMode = "reverse" | "forward";

/** A function of the float leaves alone. */
export type Floats = (xs: readonly Tensor[]) => readonly Tensor[];

/** An entry of an argument at which a function has no derivative. */
export interface Kink {
  /** Argument, path and index: `1.layer.w[0,2]`. */
  readonly at: string;
  readonly order: number;
  readonly mode: GradMode;
  /** The slopes on either side, as differences give them: not finite where the function is not. */
  readonly slopes: readonly [below: number, above: number];
  /** The derivative that was given there. */
  readonly got: number;
}

export interface Checking {
  readonly paths: readonly string[];
  readonly modes: readonly GradMode[];
  readonly eps: number;
  readonly rtol: number;
  readonly atol: number;
  readonly onKink: (kink: Kink) => void;
  /** The next of a sequence of numbers of either sign, away from 0. */
  readonly random: () => number;
}

/** Writes a graph with f64 on `cpu` as the defaults, the rules of custom gradients included. */
export const exactly = <T>(write: () => T): T => withDefaults({ device: "cpu", float: "f64" }, write);

/** The gradient of `⟨cts, f⟩`, itself a function of the float leaves. */
export const gradientOf =
  (f: Floats, cts: readonly Tensor[]): Floats =>
  (xs) =>
    exactly(() => vjp((zs: readonly Tensor[]) => f(zs), xs)[1](cts)[0]);

/** Random numbers for the outputs, of either sign and away from 0. */
export const cotangents = (ys: readonly Tensor[], random: () => number): Tensor[] =>
  ys.map((y) => tensor(Float64Array.from({ length: y.size }, random), { shape: y.shape, device: "cpu" }));

/** A function at a point, and the projection `⟨cts, f⟩` whose derivative is compared with differences. */
interface Point {
  readonly f: Floats;
  readonly xs: readonly Tensor[];
  readonly values: readonly ArrayLike<number>[];
  readonly cts: readonly Tensor[];
  readonly gradient: readonly Tensor[];
}

/** A step of every input element. */
type Step = readonly Float64Array[];

/**
 * Compares the first derivative of a function of f64 tensors, the `level`-th of the user's, with differences.
 *
 * @returns what is wrong with it, or undefined.
 * @throws {GradientError} for a function that is none, and for a custom rule that is not linear in its cotangent.
 */
export async function derivativeFault(
  f: Floats,
  xs: readonly Tensor[],
  checking: Checking,
  level: number,
): Promise<string | undefined> {
  const [ys, pull] = vjp((zs: readonly Tensor[]) => f(zs), xs);
  const pullback = (ct: readonly Tensor[]): readonly Tensor[] => exactly(() => pull(ct)[0]);
  const cts = cotangents(ys, checking.random);
  await checkRepeatable(ys, f(xs));
  await checkLinear(ys, pullback, cts, checking);
  const values = await Promise.all(xs.map((x) => x.data()));
  const point: Point = { f, xs, values, cts, gradient: pullback(cts) };
  const direction = values.map((v) => Float64Array.from(v, (x) => checking.random() * scaleOf(x)));
  const [projection] = await probe(point, [direction], checking);
  for (const mode of checking.modes) {
    const got = await derivativeAlong(point, mode, direction);
    if (projection(got).verdict === "agrees") continue;
    const fault = await faultByEntry(point, mode, checking, level);
    if (fault !== undefined) return `the ${mode} derivative of order ${level} is wrong ${fault}`;
  }
  return undefined;
}

const scaleOf = (x: number): number => Math.max(1, Math.abs(x));

/** The derivative of the projection along a step, in either mode. */
function derivativeAlong({ f, xs, cts, gradient }: Point, mode: GradMode, step: Step): Promise<number> {
  const tangents = tensorsLike(xs, step);
  if (mode === "reverse") return inner(gradient, tangents).item();
  return inner(exactly(() => jvp((zs: readonly Tensor[]) => f(zs), [xs], [tangents]))[1], cts).item();
}

const tensorsLike = (xs: readonly Tensor[], data: readonly Float64Array[]): Tensor[] =>
  xs.map((x, i) => tensor(data[i], { shape: x.shape, device: "cpu" }));

/** Compares entry by entry and, where entries are on kinks, also along all of them at once. */
async function faultByEntry(
  point: Point,
  mode: GradMode,
  checking: Checking,
  order: number,
): Promise<string | undefined> {
  const entries = unitSteps(point.values);
  const got =
    mode === "reverse"
      ? (await Promise.all(point.gradient.map((g) => g.data()))).flatMap((g) => [...g])
      : await Promise.all(entries.map((e) => derivativeAlong(point, mode, e.step)));
  const probes = await probe(
    point,
    entries.map((e) => e.step),
    checking,
  );
  const scaled = (i: number): number => (mode === "reverse" ? got[i] * entries[i].scale : got[i]);
  const compared = entries.map((e, i) => ({ ...e, ...probes[i](scaled(i)) }));
  const place = ({ leaf, position }: Entry): string =>
    `${checking.paths[leaf]}[${indexAt(position, point.xs[leaf].shape)}]`;
  const wrong = compared.filter((e) => e.verdict === "differs");
  if (wrong.length > 0) {
    const worst = wrong.reduce((a, b) => (b.excess > a.excess ? b : a));
    return `in ${wrong.length} of ${entries.length} entries, worst by argument ${place(worst)}: expected ${worst.expected / worst.scale}, got ${worst.got / worst.scale}`;
  }
  const kinks = compared.filter((e) => e.verdict === "kink");
  for (const kink of kinks) {
    const [below, above] = kink.slopes;
    const slopes = [below / kink.scale, above / kink.scale] as const;
    checking.onKink({ at: place(kink), order, mode, slopes, got: kink.got / kink.scale });
  }
  return kinks.length > 0 ? faultOfTies(point, mode, checking) : undefined;
}

/**
 * Tied elements are each on a kink, which moving all of them alike does not cross: what ties share, such as the cotangent of a maximum,
 * must add up.
 */
async function faultOfTies(point: Point, mode: GradMode, checking: Checking): Promise<string | undefined> {
  const together = point.values.map((v) => new Float64Array(v.length).fill(1));
  const [compare] = await probe(point, [together], checking);
  const { verdict, expected, got } = compare(await derivativeAlong(point, mode, together));
  if (verdict !== "differs") return undefined;
  return `where all entries move alike, though some are on kinks when they move alone: expected ${expected}, got ${got}; what tied entries get must add up`;
}

/** One input element and the step that moves it alone. */
interface Entry {
  readonly leaf: number;
  readonly position: number;
  readonly scale: number;
  readonly step: Step;
}

function unitSteps(values: readonly ArrayLike<number>[]): Entry[] {
  return values.flatMap((v, leaf) =>
    Array.from(v, (x, position): Entry => {
      const scale = scaleOf(x);
      const step = values.map((w) => new Float64Array(w.length));
      step[leaf][position] = scale;
      return { leaf, position, scale, step };
    }),
  );
}

/** Samples `⟨cts, f⟩` around a point along steps, all in one run, and gives for each the comparison with a derivative. */
async function probe(
  { f, xs, values, cts, gradient }: Point,
  steps: readonly Step[],
  { eps, rtol, atol }: Checking,
): Promise<((got: number) => Comparison)[]> {
  const sample = (step: Step, t: number): Promise<number> => {
    const moved = values.map((v, i) => Float64Array.from(v, (x, j) => x + t * step[i][j]));
    return inner(f(tensorsLike(xs, moved)), cts).item();
  };
  const middle = f(xs);
  const finite = gradient.map((g) => where(g.isFinite(), g.abs(), 0));
  // What the function rounds, and what the steps do.
  const magnitudes = inner(middle.map(abs), cts.map(abs)).add(inner(finite, xs.map(abs)));
  const [value, magnitude] = await Promise.all([inner(middle, cts).item(), magnitudes.item()]);
  return Promise.all(
    steps.map(async (step) => {
      const ts = [-eps, -eps * smallStep, eps * smallStep, eps];
      const [a, b, c, d] = await Promise.all(ts.map((t) => sample(step, t)));
      const samples: Samples = { "-2": a, "-1": b, "0": value, "1": c, "2": d };
      return (got: number) => compareDerivative(got, samples, eps, magnitude, { rtol, atol });
    }),
  );
}

/** @throws {GradientError} if two calls of a function at one point differ. */
async function checkRepeatable(ys: readonly Tensor[], again: readonly Tensor[]): Promise<void> {
  const [first, second] = await Promise.all([ys, again].map((outs) => Promise.all(outs.map((y) => y.data()))));
  const same = first.every((data, i) => data.every((x, j) => Object.is(x, second[i][j])));
  if (!same)
    throw new GradientError("checkGrads: f gives other values when called again; make its randomness an argument");
}

/** A custom rule that does not say otherwise must be linear in its cotangent. */
async function checkLinear(
  ys: readonly Tensor[],
  pullback: (cts: readonly Tensor[]) => readonly Tensor[],
  cts: readonly Tensor[],
  { rtol, random, paths }: Checking,
): Promise<void> {
  const customs = topologicalOrder(ys.map((y) => y.node)).filter((node) => node.op === "custom");
  if (customs.length === 0 || customs.some((node) => !node.attrs.linear)) return;
  const others = cotangents(ys, random);
  const one = pullback(cts);
  const two = pullback(others);
  const both = pullback(cts.map((ct, i) => ct.mul(2).sub(others[i].mul(3))));
  for (const [i, grad] of both.entries()) {
    const wanted = one[i].mul(2).sub(two[i].mul(3));
    const allowed = one[i].abs().mul(2).add(two[i].abs().mul(3)).mul(rtol);
    if ((await grad.sub(wanted).abs().gt(allowed).any().item()) === 1)
      throw new GradientError(
        `checkGrads: a customVjp on the way to argument ${paths[i]} has a backward that is not linear in its cotangent; mend it or declare linear: false`,
      );
  }
}

const abs = (x: Tensor): Tensor => x.abs();

const inner = (as: readonly Tensor[], bs: readonly Tensor[]): Tensor =>
  as.map((a, i) => a.mul(bs[i]).sum()).reduce((sum, x) => sum.add(x));
