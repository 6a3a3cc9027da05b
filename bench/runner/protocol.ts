/** What the runner and a contestant's process say to each other: one JSON object a line, replies marked. */
import type { Ceilings, KernelRow } from "../tasks.ts";

export type Request =
  | { readonly ask: "start"; readonly threads?: number; readonly revectorize?: boolean }
  | {
      readonly ask: "prepare";
      /** The number by which it is asked for afterwards: several may be ready at once. */
      readonly trial: number;
      readonly task: string;
      readonly sizes: object;
      readonly seed: number;
      readonly warmUp: number;
    }
  | { readonly ask: "sample"; readonly trial: number }
  | { readonly ask: "time"; readonly trial: number; readonly ms: number; readonly atMost: number }
  | { readonly ask: "profile"; readonly trial: number }
  | { readonly ask: "ceilings" }
  | { readonly ask: "drop" };

export interface Replies {
  readonly start: { readonly [fact: string]: unknown };
  /** What the contestant cannot do, or null. */
  readonly prepare: string | null;
  /** At most `sampleSize` numbers of each output, evenly spaced, as base64 of f32. */
  readonly sample: { readonly [name: string]: string };
  /** Milliseconds of each repetition. */
  readonly time: readonly number[];
  readonly profile: readonly KernelRow[] | null;
  readonly ceilings: Ceilings | null;
  readonly drop: null;
}

/** Other lines on standard output are a library's chatter. */
export const mark = "@bench ";

/** Results are compared on this many of their numbers. */
const sampleSize = 65536;

/** Every how many-th number is compared: odd, so that it visits all columns of a matrix whose width is a power of two. */
export const strideOf = (size: number): number => Math.ceil(size / sampleSize) | 1;
