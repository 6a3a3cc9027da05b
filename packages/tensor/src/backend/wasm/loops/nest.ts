/**
 * The structure of a generated module. All its code follows from a nest, and a nest holds no extent, stride, address or number:
 * they are words of the argument block, and a nest names the slots they arrive in. So its text is the module's key.
 */
import type { ReduceOp } from "../../../primitives/reduce.ts";
import type { ScalarOp } from "../../../scalar.ts";
import type { DType } from "../../../types.ts";

/** The position of a 32-bit word in the argument block. */
export type Slot = number;

export interface Nest {
  /** Lanes of a vector: 4, or 2 if anything is f64. */
  readonly width: 2 | 4;
  /** Whether the lanes run along the last outer axis or along the last axis of the row. */
  readonly lanes: "outer" | "row";
  /** Extents of the outer axes that are looped over: all but that of the lanes. A point is one position of them. */
  readonly points: readonly Slot[];
  /** Extents of the row's axes that are looped over. A line is one position of them. */
  readonly lines: readonly Slot[];
  readonly extents: Extents;
  /** The row was cut into pieces, counted by the first outer axis: pieces of its lanes, or of its lines. */
  readonly cut?: { readonly of: "lanes" | "lines"; readonly length: Slot };
  readonly accesses: readonly Access[];
  readonly stages: readonly NestStage[];
  /** How many rows of values the thread's scratch keeps between stages, and the bytes of one. */
  readonly cache?: { readonly rows: number; readonly bytes: Slot };
}

export interface Extents {
  /** How many points there are in all, and in a tile. */
  readonly points: Slot;
  readonly pointsPerTile: Slot;
  /** The extent of the axis along the lanes. */
  readonly lanes: Slot;
  /** Where the lanes run along the outer axis: how much of it a tile covers, and how many such chunks there are. */
  readonly chunk: Slot;
  readonly chunks: Slot;
  readonly lines: Slot;
}

/** A view in the nest. Strides are in bytes, or in ones if the view is a coordinate. */
export interface Access {
  /** The byte address or the coordinate of the first point; absent if only the bounds matter. */
  readonly base?: Slot;
  /** Bytes of an element: 1 for coordinates. */
  readonly unit: 1 | 4 | 8;
  /** How it walks along the lanes: adjacent elements, one element for all, or a stride. */
  readonly walk: "contiguous" | "uniform" | "strided";
  readonly stride?: Slot;
  readonly points: readonly Slot[];
  /** Absent if the view is the same at all lines of the row. */
  readonly lines?: readonly Slot[];
  readonly bounds: readonly Bound[];
}

/** Coordinates `[from, from + span)` along an axis hold elements. */
export interface Bound {
  readonly axis: { readonly of: "points" | "lines"; readonly index: number } | { readonly of: "lanes" };
  readonly from: Slot;
  readonly span: Slot;
}

/** An instruction with its view and its numbers replaced by what the nest knows of them. */
export type Step = { readonly dtype: DType } & (
  | { readonly op: "load"; readonly access: number }
  | {
      readonly op: "gather";
      readonly access: number;
      readonly index: number;
      readonly stride: Slot;
      readonly extent: Slot;
    }
  | { readonly op: "number"; readonly slot: Slot }
  | { readonly op: "constant"; readonly value: number }
  | { readonly op: "coordinate"; readonly access: number }
  | { readonly op: "inside"; readonly access: number }
  | { readonly op: "map"; readonly fn: ScalarOp; readonly args: readonly number[] }
  | { readonly op: "reduced"; readonly stage: number }
  /** A value that an earlier stage kept. */
  | { readonly op: "cached"; readonly row: number }
);

export type NestStage = {
  /** Vectors per turn of the main loop; one number for all stages if the lanes run across points. */
  readonly unroll: number;
  readonly body: readonly Step[];
  /** Values to keep for later stages. */
  readonly keeps: readonly { readonly value: number; readonly row: number }[];
} & (
  | { readonly kind: "reduce"; readonly op: ReduceOp; readonly dtype: DType; readonly value: number }
  | {
      readonly kind: "map";
      readonly over: "row" | "outer";
      readonly stores: readonly { readonly access: number; readonly value: number }[];
    }
);
