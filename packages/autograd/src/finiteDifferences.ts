/** The value of a scalar function where one input, or all of them along a direction, moved by a step. */
export type Samples = { readonly [step in "-2" | "-1" | "0" | "1" | "2"]: number };

/** How a derivative compares with differences. */
export interface Comparison {
  readonly verdict: "agrees" | "kink" | "differs";
  readonly expected: number;
  readonly got: number;
  /** The differences over the smaller step on either side. */
  readonly slopes: readonly [below: number, above: number];
  /** The error in units of what is tolerated. */
  readonly excess: number;
}

export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

/** The smaller of the two steps, as a part of the larger. */
export const smallStep = 1 / 8;

/**
 * Compares a derivative with central differences over a step and over an eighth of it. Where one-sided differences disagree
 * and go on disagreeing as the step shrinks, or the differences grow as it does, there is no derivative: a kink or a jump, which
 * no number contradicts but NaN.
 *
 * @param samples the function at minus and plus the step (`2`), minus and plus an eighth (`1`), and in the middle.
 * @param magnitude the sum of magnitudes behind each sample, whose rounding the differences amplify.
 */
export function compareDerivative(
  got: number,
  samples: Samples,
  step: number,
  magnitude: number,
  { rtol, atol }: Tolerance,
): Comparison {
  const [wide, narrow] = [step, step * smallStep].map((h, i) => {
    const [below, above] = i === 0 ? [samples["-2"], samples["2"]] : [samples["-1"], samples["1"]];
    const expected = (above - below) / (2 * h);
    const slopes = [(samples[0] - below) / h, (above - samples[0]) / h] as const;
    const gap = Math.abs(slopes[1] - slopes[0]);
    const tolerated = atol + rtol * Math.max(Math.abs(expected), Math.abs(got)) + (8 * Number.EPSILON * magnitude) / h;
    return { expected, slopes, gap, tolerated, excess: Math.abs(expected - got) / tolerated };
  });
  const best = wide.excess < narrow.excess ? wide : narrow;
  const { expected, excess } = best;
  const bent = narrow.gap > 0.5 * wide.gap && narrow.gap > 10 * narrow.tolerated;
  const agrees = excess <= 1 || (Number.isNaN(expected) && Number.isNaN(got));
  const jumps = Math.abs(narrow.expected - wide.expected) > 0.5 * Math.abs(narrow.expected) + 10 * narrow.tolerated;
  const isKink = !Number.isNaN(got) && (bent || (!agrees && (jumps || !Number.isFinite(narrow.gap))));
  const verdict = isKink ? "kink" : agrees ? "agrees" : "differs";
  return { verdict, expected, got, slopes: narrow.slopes, excess: Number.isNaN(excess) ? Infinity : excess };
}
