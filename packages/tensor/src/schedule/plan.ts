import type { Attrs } from "../primitives/index.ts";
import type { ReduceOp } from "../primitives/reduce.ts";
import type { ScalarOp } from "../scalar.ts";
import type { DType, Shape } from "../types.ts";
import type { WithRole } from "./roles.ts";

/**
 * One program for one device: what `schedule` makes of a graph and a backend turns into code. Plain data, complete: shapes and
 * strides are here, addresses and numbers come with each run. Kernels run in order; each sees what those before it wrote.
 */
export interface Plan {
  /** Every array that a kernel touches. Kernels name them by position. */
  readonly buffers: readonly PlanBuffer[];
  readonly kernels: readonly Kernel[];
  /** The dtypes of the run-time numbers, by slot: the values of the graph's `full` nodes in topological order. */
  readonly numbers: readonly DType[];
}

export interface PlanBuffer {
  readonly dtype: DType;
  /** In elements. Contiguous; views give it shapes. */
  readonly size: number;
  readonly source: BufferSource;
}

/**
 * Where a buffer comes from. `leaf`: the leaf at this position of the topological order. `root`: the result at this position
 * among the roots; `reuses` is the buffer of a donated leaf that it may be written over, every read of which is at the index
 * written. `temporary`: scratch that lives from kernel `from` to kernel `until`, both included.
 */
export type BufferSource =
  | { readonly kind: "leaf"; readonly index: number }
  | { readonly kind: "root"; readonly index: number; readonly reuses?: number }
  | { readonly kind: "temporary"; readonly from: number; readonly until: number };

/** How the coordinates of an index space reach a buffer: the element at `i` is at `offset + Σ i·strides`. */
export interface View {
  readonly offset: number;
  readonly strides: readonly number[];
  /** For padding: per axis the coordinates `[from, to)` that hold an element. Outside, a read gives 0. */
  readonly bounds?: readonly (readonly [from: number, to: number])[];
}

/** The position of an earlier instruction of the same body, whose value is meant. */
export type Value = number;

/** One step of a body: straight-line code run once per point of an index space. `dtype` is its result's. */
export type Instruction = { readonly dtype: DType } & (
  | { readonly op: "load"; readonly buffer: number; readonly view: View }
  /** A load whose address also depends on data: `buffer[view(i) + index * stride]`, 0 unless `0 <= index < extent`. */
  | {
      readonly op: "gather";
      readonly buffer: number;
      readonly view: View;
      readonly index: Value;
      readonly stride: number;
      readonly extent: number;
    }
  /** A run-time number. */
  | { readonly op: "number"; readonly slot: number }
  /** A constant of the schedule's own, such as the 0 of padding. */
  | { readonly op: "constant"; readonly value: number }
  /** `offset + Σ i·strides` itself: what `iota` reads. */
  | { readonly op: "coordinate"; readonly view: View }
  /** Whether the point is within bounds: bool. */
  | { readonly op: "inside"; readonly bounds: NonNullable<View["bounds"]> }
  | { readonly op: "map"; readonly fn: ScalarOp; readonly args: readonly Value[] }
  /** The result of an earlier reduce stage of this kernel for the current row. */
  | { readonly op: "reduced"; readonly stage: number }
  /** In an epilogue, the routine's result at this point. */
  | { readonly op: "result" }
);

export interface Store {
  readonly buffer: number;
  readonly view: View;
  readonly value: Value;
}

/**
 * A generated kernel over `[...outer, ...row]`. For each outer point the stages run in order: a `reduce` folds its value over
 * the row; a `row` map stores at each point of the row; an `outer` map stores once. Without a row there is one `outer` stage:
 * an elementwise kernel. Views in `reduce` and `row` bodies index `[...outer, ...row]`, those in `outer` bodies index `outer`.
 * Stages never read what the same kernel stores.
 */
export interface LoopKernel {
  readonly kind: "loop";
  /** For listings and profiles: the ops that were fused. */
  readonly name: string;
  readonly outer: Shape;
  readonly row: Shape;
  readonly stages: readonly Stage[];
}

export type Stage =
  | {
      readonly kind: "reduce";
      readonly op: ReduceOp;
      readonly dtype: DType;
      readonly body: readonly Instruction[];
      readonly value: Value;
    }
  | {
      readonly kind: "map";
      readonly over: "row" | "outer";
      readonly body: readonly Instruction[];
      readonly stores: readonly Store[];
    };

/** A buffer seen under a shape. */
export interface Operand {
  readonly buffer: number;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly view: View;
}

export type RoutineOp = WithRole<"routine">;

/**
 * A hand-written kernel for one primitive. Operands of the matrix products may be strided (never with bounds); all others are
 * contiguous. What it computes is stored by the epilogue, which runs once per element of `shape` and, without fusion, is one
 * store of `result`. Routines other than the matrix products have no other epilogue.
 */
export type RoutineKernel = {
  readonly [P in RoutineOp]: {
    readonly kind: "routine";
    readonly name: string;
    readonly op: P;
    readonly attrs: Attrs[P];
    readonly operands: readonly Operand[];
    /** For the matrix products: the rows of `lhs` are rows of its buffer chosen by this i32 vector; out of range reads 0. */
    readonly rows?: Operand;
    readonly shape: Shape;
    readonly dtype: DType;
    readonly epilogue: { readonly body: readonly Instruction[]; readonly stores: readonly Store[] };
  };
}[RoutineOp];

export type Kernel = LoopKernel | RoutineKernel;
