import {
  f32,
  f32x4,
  f64,
  i32,
  i32x4,
  i64,
  select,
  v128,
  type Expr,
  type Func,
  type I32,
  type V128,
} from "../assembler.ts";
import type { DType } from "../../../types.ts";

/** Signed integers in the order of a dtype's values. `K` is their type. */
export interface Keys<K extends "i32" | "i64" = "i32" | "i64"> {
  readonly type: K;
  readonly bytes: 4 | 8;
  /** The key of the element at an address. NaN has the greatest, whichever the direction; -0 and 0 have the same. */
  readonly load: (f: Func, address: I32) => Expr<K>;
  readonly loadKey: (address: I32) => Expr<K>;
  readonly storeKey: (address: I32, key: Expr<K>) => Expr<"void">;
  readonly less: (a: Expr<K>, b: Expr<K>) => I32;
  readonly constant: (value: number) => Expr<K>;
  /** Bits `[shift, shift + 8)` of a key as a number that sorts like them; `last` for the highest ones, with the sign. */
  readonly digit: (key: Expr<K>, shift: I32, last: I32) => I32;
}

/** @param descending whether the greatest value has the least key. */
export function keysOf(dtype: DType, descending: boolean): Keys {
  return (dtype === "f64" ? wideKeys(descending) : keys32(dtype, descending)) as unknown as Keys;
}

/** As `a < b` for i32, so for floats: the bits below the sign are flipped where it is set. */
function keys32(dtype: DType, descending: boolean): Keys<"i32"> {
  const flip = descending ? -1 : 0;
  return {
    type: "i32",
    bytes: 4,
    load(f, address) {
      if (dtype !== "f32") return i32.xor(i32.load(address), dtype === "u32" ? ~flip ^ 0x7fffffff : flip);
      const x = f.let(f32.add(f32.load(address), 0)); // turns -0 into 0
      const bits = f.let(i32.reinterpret_f32(x));
      const ordered = i32.xor(i32.xor(bits, i32.shr_u(i32.shr_s(bits, 31), 1)), flip);
      return select(f32.ne(x, x), i32.const(0x7fffffff), ordered);
    },
    loadKey: i32.load,
    storeKey: i32.store,
    less: i32.lt_s,
    constant: i32.const,
    digit: (key, shift, last) => i32.xor(i32.and(i32.shr_u(key, shift), 255), i32.shl(last, 7)),
  };
}

function wideKeys(descending: boolean): Keys<"i64"> {
  return {
    type: "i64",
    bytes: 8,
    load(f, address) {
      const x = f.let(f64.add(f64.load(address), 0));
      const bits = f.let(i64.reinterpret_f64(x));
      const ordered = i64.xor(i64.xor(bits, i64.shr_u(i64.shr_s(bits, 63), 1)), descending ? -1 : 0);
      return select(f64.ne(x, x), i64.shr_u(-1, 1), ordered);
    },
    loadKey: i64.load,
    storeKey: i64.store,
    less: i64.lt_s,
    constant: i64.const,
    digit: (key, shift, last) =>
      i32.xor(i32.and(i32.wrap_i64(i64.shr_u(key, i64.extend_i32_u(shift))), 255), i32.shl(last, 7)),
  };
}

/** Four keys at once, of the 32-bit dtypes. */
export function vectorKeys(f: Func, dtype: DType, descending: boolean, address: I32): V128 {
  const flip = descending ? -1 : 0;
  const loaded = v128.load(address, 0, 4);
  if (dtype !== "f32") return v128.xor(loaded, dtype === "u32" ? ~flip ^ 0x7fffffff : flip);
  const x = f.let(f32x4.add(loaded, 0));
  const ordered = v128.xor(v128.xor(x, i32x4.shr_u(i32x4.shr_s(x, 31), 1)), flip);
  return v128.bitselect(i32x4.const(0x7fffffff), ordered, f32x4.ne(x, x));
}
