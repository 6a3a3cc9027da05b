/** The dullest loops, in f64: what the tests compare with. */
import { tensor, type Tensor } from "@switchyard/tensor";

export type Rows = number[][];

/** Numbers that look random, the same for the same seed: roughly normal. */
export function numbers(seed: number, count: number): number[] {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: count }, () => uniform() + uniform() + uniform() + uniform() + uniform() + uniform() - 3);
}

/** A tensor of such numbers, f64 on cpu. */
export const randomTensor = (seed: number, shape: readonly number[]): Tensor<"f64"> =>
  tensor(
    numbers(
      seed,
      shape.reduce((a, b) => a * b, 1),
    ),
    { shape, dtype: "f64", device: "cpu" },
  );

export const rowsOf = async (t: Tensor): Promise<Rows> => (await t.toArray()) as Rows;

export const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
export const mean = (xs: readonly number[]): number => sum(xs) / xs.length;

export function softmax(row: readonly number[]): number[] {
  const powers = row.map((x) => Math.exp(x - Math.max(...row)));
  return powers.map((x) => x / sum(powers));
}

export function matmul(a: Rows, b: Rows): Rows {
  return a.map((row) => b[0].map((_, j) => sum(row.map((x, i) => x * b[i][j]))));
}

/** The k largest, largest first; of equals the first. */
export function topK(row: readonly number[], k: number): number[] {
  const found: number[] = [];
  while (found.length < k) {
    let best = -1;
    for (let i = 0; i < row.length; i++) if (!found.includes(i) && (best < 0 || row[i] > row[best])) best = i;
    found.push(best);
  }
  return found;
}

export function cvSquared(v: readonly number[], correction = 0, eps = 1e-10): number {
  const m = mean(v);
  return sum(v.map((x) => (x - m) ** 2)) / (v.length - correction) / (m * m + eps);
}

const erf = (x: number): number => {
  // The series of Kummer: all terms of one sign, so nothing cancels. Good for |x| up to about 5.
  let term = x;
  let total = x;
  for (let n = 1; n < 200; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
};
export const normalCdf = (x: number): number => (Math.abs(x) > 7 ? Number(x > 0) : (1 + erf(x / Math.SQRT2)) / 2);

const silu = (x: number): number => x / (1 + Math.exp(-x));
const activations: Record<string, (x: number) => number> = {
  relu: (x) => Math.max(x, 0),
  gelu: (x) => x * normalCdf(x),
  silu,
  swiglu: silu,
};

/** An expert's parameters as nested arrays. */
export interface ExpertArrays {
  w1: Rows[];
  w2: Rows[];
  b1?: Rows;
  b2?: Rows;
  w3?: Rows[];
}

/** One expert on one token. */
export function expert(p: ExpertArrays, e: number, x: readonly number[], activation: string): number[] {
  const inner = p.w1[e][0].map((_, h) => {
    const before = sum(x.map((v, d) => v * p.w1[e][d][h])) + (p.b1?.[e][h] ?? 0);
    const gate = p.w3 ? sum(x.map((v, d) => v * p.w3![e][d][h])) : 1;
    return activations[activation](before) * gate;
  });
  return p.w2[e][0].map((_, d) => sum(inner.map((v, h) => v * p.w2[e][h][d])) + (p.b2?.[e][d] ?? 0));
}

/** Each token's chosen experts, weighted and added up; zero for padding. */
export function mixture(
  p: ExpertArrays,
  x: Rows,
  experts: Rows,
  weights: Rows,
  activation: string,
  mask?: readonly boolean[],
): Rows {
  return x.map((token, t) => {
    const out = token.map(() => 0);
    if (mask && !mask[t]) return out;
    experts[t].forEach((e, j) => expert(p, e, token, activation).forEach((v, d) => (out[d] += weights[t][j] * v)));
    return out;
  });
}
