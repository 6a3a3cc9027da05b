import * as fc from "fast-check";
import { ConfigError } from "../errors.ts";
import { tensor } from "../make.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { hostArrayFrom, type DType, type Shape, type TypedArray } from "../types.ts";

/** What a tensor made here holds, so that an arbitrary can be refined without running anything. */
export interface Literal<D extends DType = DType> {
  readonly shape: Shape;
  readonly dtype: D;
  readonly data: TypedArray<D>;
}

const literals = new WeakMap<Tensor, Literal>();

/** A tensor on the default device that a failing property prints as code to paste. */
export function literalTensor<D extends DType>(shape: Shape, dtype: D, values: ArrayLike<number>): Tensor<D> {
  const data = hostArrayFrom(dtype, values);
  const made = tensor(data.slice(), { shape, dtype }) as Tensor<D>;
  literals.set(made, { shape, dtype, data });
  return printedAs(made, codeOf({ shape, dtype, data }));
}

/** The elements of a tensor that `literalTensor` made. */
export function literalOf<D extends DType>(x: Tensor<D>): Literal<D> {
  const literal = literals.get(x);
  if (!literal) throw new ConfigError("awayFromKinks: takes tensors of tensorOf, wellConditioned or indices");
  return literal as Literal<D>;
}

/** Makes fast-check print `code` for a tensor. */
export const printedAs = <T extends Tensor>(x: T, code: string): T =>
  Object.defineProperty(x, fc.toStringMethod, { value: () => code });

/** The code fast-check prints for a tensor made here. */
export const printed = (x: Tensor): string => fc.stringify(x);

function codeOf({ shape, dtype, data }: Literal): string {
  if (sizeOf(shape) === 0) return `zeros([${shape.join(", ")}], { dtype: "${dtype}" })`;
  let at = 0;
  const nest = (axis: number): string => {
    if (axis === shape.length) return numeral(data[at++], dtype);
    return `[${Array.from({ length: shape[axis] }, () => nest(axis + 1)).join(", ")}]`;
  };
  return `tensor(${nest(0)}, { dtype: "${dtype}" })`;
}

function numeral(x: number, dtype: DType): string {
  if (dtype === "bool") return x === 0 ? "false" : "true";
  return Object.is(x, -0) ? "-0" : String(x);
}
