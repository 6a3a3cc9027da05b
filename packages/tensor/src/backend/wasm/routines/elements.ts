import { f32, f32x4, f64, f64x2, i32, i32x4, select, v128, type Expr, type I32, type V128 } from "../assembler.ts";
import type { DType } from "../../../types.ts";
import { wasmDType, type WasmDType } from "../dtypes.ts";

/** Arithmetic of one dtype, for code that is the same for all. `T` is the type it is held in. */
export interface Elements<T extends "i32" | "f32" | "f64" = "i32" | "f32" | "f64"> {
  readonly type: T;
  readonly bytes: 4 | 8;
  readonly load: (address: I32, offset?: number) => Expr<T>;
  readonly store: (address: I32, value: Expr<T>) => Expr<"void">;
  readonly constant: (value: number) => Expr<T>;
  readonly add: (a: Expr<T>, b: Expr<T>) => Expr<T>;
  readonly mul: (a: Expr<T>, b: Expr<T>) => Expr<T>;
  /** NaN wins. Operands without effects: they may be computed twice. */
  readonly max: (a: Expr<T>, b: Expr<T>) => Expr<T>;
  readonly vector: VectorElements;
}

/** The same in 128 bits. */
export interface VectorElements {
  readonly lanes: 2 | 4;
  readonly constant: (value: number) => V128;
  readonly add: (a: V128, b: V128) => V128;
  readonly max: (a: V128, b: V128) => V128;
}

const integers = (greater: typeof i32.gt_s, max: typeof i32x4.max_s): Elements<"i32"> => ({
  type: "i32",
  bytes: 4,
  load: i32.load,
  store: i32.store,
  constant: i32.const,
  add: i32.add,
  mul: i32.mul,
  max: (a, b) => select(greater(a, b), a, b),
  vector: { lanes: 4, constant: i32x4.const, add: i32x4.add, max },
});

const signed = integers(i32.gt_s, i32x4.max_s);

const elements = {
  f32: {
    type: "f32",
    bytes: 4,
    load: f32.load,
    store: f32.store,
    constant: f32.const,
    add: f32.add,
    mul: f32.mul,
    max: f32.max,
    vector: { lanes: 4, constant: f32x4.const, add: f32x4.add, max: f32x4.max },
  } satisfies Elements<"f32">,
  f64: {
    type: "f64",
    bytes: 8,
    load: f64.load,
    store: f64.store,
    constant: f64.const,
    add: f64.add,
    mul: f64.mul,
    max: f64.max,
    vector: { lanes: 2, constant: f64x2.const, add: f64x2.add, max: f64x2.max },
  } satisfies Elements<"f64">,
  i32: signed,
  u32: integers(i32.gt_u, i32x4.max_u),
  bool: signed,
} satisfies { [D in WasmDType]: Elements<"i32"> | Elements<"f32"> | Elements<"f64"> };

/** The arithmetic of a dtype, its type forgotten: its own values only ever meet each other. */
export const elementsOf = (dtype: DType): Elements => elements[wasmDType(dtype)] as unknown as Elements;

/** Four 32-bit or two 64-bit elements. */
export const loadVector = (address: I32, offset = 0): V128 => v128.load(address, offset, 4);
export const storeVector = (address: I32, value: V128, offset = 0): Expr<"void"> =>
  v128.store(address, value, offset, 4);
