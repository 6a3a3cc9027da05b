import type { StepSizes } from "../tasks.ts";

/** A parameter of the language model that contestants train: where it comes from is its place in the list. */
export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scale: number;
}

/** Every parameter but the norms' scales, which start at one. The names are the paths of our own transformer. */
export function languageModelParameters(sizes: StepSizes): Parameter[] {
  const { vocab, dim, hidden, experts, layers, activation } = sizes;
  const one = (name: string, shape: readonly number[], scale: number): Parameter => ({ name, shape, scale });
  const layer = (i: number): Parameter[] => [
    one(`layers.${i}.attention.qkv`, [dim, 3 * dim], dim ** -0.5),
    one(`layers.${i}.attention.out`, [dim, dim], (2 * layers * dim) ** -0.5),
    one(`layers.${i}.moe.router.gate`, [dim, experts], dim ** -0.5),
    one(`layers.${i}.moe.experts.w1`, [experts, dim, hidden], dim ** -0.5),
    ...(activation === "swiglu" ? [one(`layers.${i}.moe.experts.w3`, [experts, dim, hidden], dim ** -0.5)] : []),
    one(`layers.${i}.moe.experts.w2`, [experts, hidden, dim], hidden ** -0.5),
  ];
  return [
    one("embedding.table", [vocab, dim], 0.02),
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
    one("head.weight", [dim, vocab], 0.1 * dim ** -0.5),
  ];
}

/** The streams that a seed's data comes from: parameters by place in the list, then the batch of each step. */
export const streamOfBatch = (step: number): number => 1000 + step;
