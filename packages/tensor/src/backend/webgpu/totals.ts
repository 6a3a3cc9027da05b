import type { ReduceOp } from "../../primitives/reduce.ts";
import { isFloat, type DType } from "../../types.ts";
import { heldAs, scalarExpression, zeroOf } from "./wgsl.ts";

/** WGSL's types of what a reduction holds on its way. */
export type HeldType = ReturnType<typeof heldAs> | "vec2<f32>";

export const wordsOf = (type: HeldType): 1 | 2 => (type === "vec2<f32>" ? 2 : 1);

/** A value in words, whose bits no compiler takes for a number, and back. */
export function pack(type: HeldType, value: string): string {
  if (type === "bool") return `select(0u, 1u, ${value})`;
  return type === "u32" ? value : `bitcast<${packedType(type)}>(${value})`;
}
export function unpack(type: HeldType, words: string): string {
  if (type === "bool") return `(${words} != 0u)`;
  return type === "u32" ? words : `bitcast<${type}>(${words})`;
}

export const packedType = (type: HeldType): string => (wordsOf(type) === 2 ? "vec2<u32>" : "u32");

/** How a reduction holds what it has so far, which is not rounded to the dtype: in WGSL. */
export interface Total {
  readonly type: HeldType;
  /** The total of nothing. */
  readonly identity: string;
  /** The total of one value. */
  readonly of: (value: string) => string;
  readonly combine: (a: string, b: string) => string;
  /** What a total is as a value. */
  readonly value: (total: string) => string;
}

const same = (x: string): string => x;

/** A sum of floats is one f32: partial sums beyond 3.4e38 are infinite, where the definition, in f64, may come back from there. */
export function totalOf(op: ReduceOp, dtype: DType): Total {
  const plain = { type: heldAs(dtype), identity: identityOf(op, dtype), of: same, value: same };
  if (op === "sum") return { ...plain, combine: (a, b) => `(${a} + ${b})` };
  if (op === "prod") return isFloat(dtype) ? product : { ...plain, combine: (a, b) => `(${a} * ${b})` };
  const fn = op === "max" ? "maximum" : "minimum";
  return { ...plain, combine: (a, b) => scalarExpression(fn, dtype, dtype, [a, b]) };
}

/**
 * A product of floats as x·2^y with |x| in [1, 2) unless it is 0, infinite or NaN. As one f32 it could overflow or vanish on its way, where
 * the definition, in f64, does not.
 */
const product: Total = {
  type: "vec2<f32>",
  identity: "vec2(1.0, 0.0)",
  of: (value) => `split_f32(${value})`,
  combine: (a, b) => `multiply_split(${a}, ${b})`,
  value: (total) => `join_f32(${total})`,
};

function identityOf(op: ReduceOp, dtype: DType): string {
  if (op === "sum") return zeroOf[dtype];
  if (op === "prod") return dtype === "u32" ? "1u" : "1";
  const lowest = {
    f16: "-infinity()",
    f32: "-infinity()",
    f64: "",
    i32: "(-2147483647 - 1)",
    u32: "0u",
    bool: "false",
  };
  const highest = {
    f16: "infinity()",
    f32: "infinity()",
    f64: "",
    i32: "2147483647",
    u32: "0xffffffffu",
    bool: "true",
  };
  return op === "max" ? lowest[dtype] : highest[dtype];
}
