import type { Dispatch } from "./shader.ts";
import { Shader } from "./shader.ts";

/** What lowering a kernel may ask for. */
export interface Lowering {
  /** Which of the plan's buffers stands for this one's memory. */
  readonly canonical: (buffer: number) => number;
  /** Memory for this kernel alone; the number names it as a buffer. */
  readonly scratch: (bytes: number) => number;
  readonly limits: { readonly workgroupBytes: number };
}

export const shaderFor = (lowering: Lowering): Shader => new Shader(lowering.canonical);

/** What a kernel of the plan becomes: dispatches in order, each seeing what those before it wrote. */
export type Lowered = readonly Dispatch[];

export const powerAtLeast = (x: number): number => 2 ** Math.ceil(Math.log2(Math.max(x, 1)));
