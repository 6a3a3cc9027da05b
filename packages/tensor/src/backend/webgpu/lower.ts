import type { MatrixShape } from "./matrices.ts";
import type { Dispatch } from "./shader.ts";
import { Shader, type SubgroupSizes } from "./shader.ts";

/** What of the adapter kernels are chosen by. */
export interface Limits {
  readonly workgroupBytes: number;
  /**
   * The adapter is a program on the CPU. It runs the invocations of a workgroup in turn, and at a barrier changes from each to the next; and
   * few of them fill it. So there a row is the work of one, where elsewhere many share it.
   */
  readonly serial: boolean;
  /** The sizes that subgroups come in, where kernels may use them. */
  readonly subgroups?: SubgroupSizes;
  /** What subgroups can multiply, where they can. */
  readonly matrices?: MatrixShape;
}

/** Invocations of a workgroup on a serial adapter, which meet at no barrier: few, so that there are workgroups for all its threads. */
export const serialSize = 16;

/** What lowering a kernel may ask for. */
export interface Lowering {
  /** Which of the plan's buffers stands for this one's memory. */
  readonly canonical: (buffer: number) => number;
  /** Memory for this kernel alone; the number names it as a buffer. */
  readonly scratch: (bytes: number) => number;
  readonly limits: Limits;
}

export const shaderFor = ({ canonical, limits }: Lowering): Shader => new Shader(canonical, limits);

/** What a kernel of the plan becomes: dispatches in order, each seeing what those before it wrote. */
export type Lowered = readonly Dispatch[];

export const powerAtLeast = (x: number): number => 2 ** Math.ceil(Math.log2(Math.max(x, 1)));
