/** What every part of the code generator shares while it writes one `run` function. */
import type { DType } from "../../../types.ts";
import {
  f32x4,
  f64x2,
  i32,
  i32x4,
  v128,
  type Callable,
  type Func,
  type I32,
  type Local,
  type V128,
} from "../assembler.ts";
import type { MathImport } from "../math.ts";
import type { Nest, Slot } from "./nest.ts";

export type Vector = Local<"v128">;

export interface Emission {
  readonly f: Func;
  readonly nest: Nest;
  /** A word of the argument block. */
  readonly word: (slot: Slot) => I32;
  /** The run-time numbers by slot, in every lane. */
  readonly numbers: ReadonlyMap<Slot, Vector>;
  /** 0, 1, 2, 3. */
  readonly ramp: Vector;
  readonly scratch: I32;
  readonly import: (name: MathImport) => Callable<"f64">;
}

/** Where an access stands at one point, line or vector; lanes are 0 where the mask is. */
export interface Cursor {
  readonly at: I32;
  readonly mask?: Vector;
}

/** By position among the nest's accesses. */
export type Cursors = ReadonlyMap<number, Cursor>;

/** The vectors of one turn of the loop along the lanes: `unroll` of them from element `v`, or what is left, fewer than one. */
export interface Window {
  readonly unroll: number;
  readonly v: I32;
  /** The end of the elements. */
  readonly to: I32;
  /** `v` in bytes of elements of 4 and of 8. */
  readonly bytes: { readonly 4: I32; readonly 8: I32 };
  readonly rest?: Rest;
}

/** How much is left: so many elements; for each lane the last element it may touch; and a mask of the lanes that exist. */
export interface Rest {
  readonly count: I32;
  readonly lanes: readonly I32[];
  readonly mask: Vector;
}

/** A number in every lane, as a value of a dtype. */
export function splatConstant(dtype: DType, value: number): V128 {
  if (dtype === "f32") return f32x4.const(value);
  if (dtype === "f64") return f64x2.const(value);
  if (dtype === "bool") return i32x4.const(value === 0 ? 0 : -1);
  return i32x4.const(value | 0);
}

/** A mask of 32-bit lanes as it must be to select values of a dtype. */
export const maskFor = (dtype: DType, mask: Vector): V128 =>
  dtype === "f64" ? v128.shuffle32(mask, mask, [0, 0, 1, 1]) : mask;

/** base + index·stride. */
export const at = (base: I32, index: I32, stride: I32): I32 => i32.add(base, i32.mul(index, stride));
