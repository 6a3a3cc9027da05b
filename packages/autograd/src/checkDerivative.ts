import { GradientError, tensor, type Tensor } from "@switchyard/tensor";
import { topologicalOrder } from "@switchyard/tensor/graph";
import { compareDerivative, smallStep, type Comparison, type Samples } from "./finiteDifferences.ts";
import { indexAt } from "./testing/compare.ts";
import { jvp, vjp } from "./vjp.ts";

export type GradMode = "reverse" | "forward";

/** A function of the float leaves alone. */
export type Floats = (xs: readonly Tensor[]) => readonly Tensor[];

export interface Checking {
  readonly paths: readonly string[];
  readonly modes: readonly GradMode[];
  readonly eps: number;
  readonly rtol: number;
  readonly atol: number;
  /** The next of a sequence of numbers of either sign, away from 0. */
  readonly random: () => number;
}

/** The gradient of `⟨cts, f⟩`, itself a function of the float leaves. */
export const gradientOf =
  (f: Floats, cts: readonly Tensor[]): Floats =>
  (xs) =>
    vjp((zs: readonly Tensor[]) => f(zs), xs)[1](cts)[0];

/** Random numbers for the outputs, of either sign and away from 0. */
export const cotangents = (ys: readonly Tensor[], random: () => number): Tensor[] =>
  ys.map((y) => tensor(Float64Array.from({ length: y.size }, random), { shape: y.shape, device: "cpu" }));

/** Checks the first derivative of a function of f64 tensors, which is `level`-th of the user's. */
export async function checkDerivative(
  f: Floats,
  xs: readonly Tensor[],
  checking: Checking,
  level: number,
): Promise<void> {
  const { modes, random } = checking;
  const [ys, pullback] = vjp((zs: readonly Tensor[]) => f(zs), xs);
  const cts = cotangents(ys, random);
  await checkLinear(ys, pullback, cts, checking);
  const values = await Promise.all(xs.map((x) => x.data()));
  const direction = values.map((v) => Float64Array.from(v, (x) => random() * Math.max(1, Math.abs(x))));
  const probe = prober(f, xs, values, cts, checking);
  const [projection] = await probe([direction]);
  const [gradient] = pullback(cts);
  const forward = (steps: readonly Float64Array[]): Promise<number> =>
    inner(jvp((zs: readonly Tensor[]) => f(zs), [xs], [tensorsLike(xs, steps)])[1], cts).item();
  for (const mode of modes) {
    const reverse = mode === "reverse";
    const along = reverse ? inner(gradient, tensorsLike(xs, direction)).item() : forward(direction);
    if (projection(await along).verdict === "agrees") continue;
    const entries = unitSteps(values);
    const got = reverse
      ? (await Promise.all(gradient.map((g) => g.data()))).flatMap((g) => [...g]).map((g, i) => g * entries[i].scale)
      : await Promise.all(entries.map((e) => forward(e.step)));
    const probes = await probe(entries.map((e) => e.step));
    const compared = entries.map((e, i) => ({ ...e, ...probes[i](got[i]) }));
    throwWorst(compared, `the ${mode} derivative of order ${level}`, xs, checking);
  }
}

const tensorsLike = (xs: readonly Tensor[], data: readonly Float64Array[]): Tensor[] =>
  xs.map((x, i) => tensor(data[i], { shape: x.shape, device: "cpu" }));

/** @throws {GradientError} if an entry differs, naming the one furthest off. */
function throwWorst(
  entries: readonly (Entry & Comparison)[],
  what: string,
  xs: readonly Tensor[],
  { paths }: Checking,
): void {
  const wrong = entries.filter((e) => e.verdict === "differs");
  if (wrong.length === 0) return;
  const worst = wrong.reduce((a, b) => (b.excess > a.excess ? b : a));
  const place = `${paths[worst.leaf]}[${indexAt(worst.position, xs[worst.leaf].shape)}]`;
  throw new GradientError(
    `checkGrads: ${what} is wrong in ${wrong.length} of ${entries.length} entries, worst by argument ${place}: expected ${worst.expected / worst.scale}, got ${worst.got / worst.scale}`,
  );
}

/** One input element and the step that moves it alone. */
interface Entry {
  readonly leaf: number;
  readonly position: number;
  readonly scale: number;
  readonly step: readonly Float64Array[];
}

function unitSteps(values: readonly ArrayLike<number>[]): Entry[] {
  return values.flatMap((v, leaf) =>
    Array.from(v, (x, position): Entry => {
      const scale = Math.max(1, Math.abs(x));
      const step = values.map((w) => new Float64Array(w.length));
      step[leaf][position] = scale;
      return { leaf, position, scale, step };
    }),
  );
}

/** Samples `⟨cts, f⟩` around `xs` along directions, all in one run, and gives for each the comparison with a derivative. */
function prober(
  f: Floats,
  xs: readonly Tensor[],
  values: readonly ArrayLike<number>[],
  cts: readonly Tensor[],
  { eps, rtol, atol }: Checking,
): (directions: readonly (readonly Float64Array[])[]) => Promise<((got: number) => Comparison)[]> {
  const sample = (direction: readonly Float64Array[], t: number): readonly Tensor[] =>
    f(
      tensorsLike(
        xs,
        values.map((v, i) => Float64Array.from(v, (x, j) => x + t * direction[i][j])),
      ),
    );
  return async (directions) => {
    const middle = f(xs);
    const [value, magnitude] = await Promise.all([
      inner(middle, cts).item(),
      inner(
        middle.map((y) => y.abs()),
        cts.map((c) => c.abs()),
      ).item(),
    ]);
    return Promise.all(
      directions.map(async (direction) => {
        const steps = [-eps, -eps * smallStep, eps * smallStep, eps];
        const [a, b, c, d] = await Promise.all(steps.map((t) => inner(sample(direction, t), cts).item()));
        const samples: Samples = { "-2": a, "-1": b, "0": value, "1": c, "2": d };
        return (got: number) => compareDerivative(got, samples, eps, magnitude, { rtol, atol });
      }),
    );
  };
}

/** A custom rule that does not say otherwise must be linear in its cotangent. */
async function checkLinear(
  ys: readonly Tensor[],
  pullback: (cts: readonly Tensor[]) => [readonly Tensor[]],
  cts: readonly Tensor[],
  { rtol, random, paths }: Checking,
): Promise<void> {
  const customs = topologicalOrder(ys.map((y) => y.node)).filter((node) => node.op === "custom");
  if (customs.length === 0 || customs.some((node) => !node.attrs.linear)) return;
  const others = cotangents(ys, random);
  const [one] = pullback(cts);
  const [two] = pullback(others);
  const [both] = pullback(cts.map((ct, i) => ct.mul(2).sub(others[i].mul(3))));
  for (const [i, grad] of both.entries()) {
    const wanted = one[i].mul(2).sub(two[i].mul(3));
    const allowed = one[i].abs().mul(2).add(two[i].abs().mul(3)).mul(rtol);
    if ((await grad.sub(wanted).abs().gt(allowed).any().item()) === 1)
      throw new GradientError(
        `checkGrads: a customVjp on the way to argument ${paths[i]} has a backward that is not linear in its cotangent; mend it or declare linear: false`,
      );
  }
}

const inner = (as: readonly Tensor[], bs: readonly Tensor[]): Tensor =>
  as.map((a, i) => a.mul(bs[i]).sum()).reduce((sum, x) => sum.add(x));
