import * as fc from "fast-check";
import { ConfigError } from "../errors.ts";
import { tensor } from "../make.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { hostArrayFrom, type DType, type Shape, type TypedArray } from "../types.ts";

/** Elements on the host. */
interface Literal<D extends DType = DType> {
  readonly shape: Shape;
  readonly dtype: D;
  readonly data: TypedArray<D>;
}

/** What is seen of a literal, and the code that follows the literal's to say so. */
interface View {
  readonly of: <D extends DType>(x: Tensor<D>) => Tensor<D>;
  readonly code: string;
}

/** How each tensor made here was made, so that an arbitrary can be refined without running anything. */
const makings = new WeakMap<Tensor, { readonly literal: Literal; readonly view?: View }>();

/** A tensor on the default device that a failing property prints as code to paste. */
export function literalTensor<D extends DType>(shape: Shape, dtype: D, values: ArrayLike<number>): Tensor<D> {
  const data = hostArrayFrom(dtype, values);
  const made = tensor(data.slice(), { shape, dtype }) as Tensor<D>;
  const literal = { shape, dtype, data };
  makings.set(made, { literal });
  return printedAs(made, codeOf(literal));
}

/** A view of a tensor that `literalTensor` made. */
export function viewOfLiteral<D extends DType>(x: Tensor<D>, view: View): Tensor<D> {
  const seen = view.of(x);
  if (seen === x) return x;
  makings.set(seen, { literal: makings.get(x)!.literal, view });
  return printedAs(seen, printed(x) + view.code);
}

/** A tensor made here again, with other elements and seen in the same way. */
export function mapLiteral<D extends DType>(x: Tensor<D>, f: (value: number) => number): Tensor<D> {
  const making = makings.get(x);
  if (!making) throw new ConfigError("awayFromKinks: takes tensors of the arbitraries for tensors");
  const { shape, dtype, data } = making.literal as Literal<D>;
  const made = literalTensor(shape, dtype, Array.from(data, f));
  return making.view ? viewOfLiteral(made, making.view) : made;
}

/** Makes fast-check print `code` for a tensor. */
const printedAs = <T extends Tensor>(x: T, code: string): T =>
  Object.defineProperty(x, fc.toStringMethod, { value: () => code });

/** The code fast-check prints for a tensor made here. */
const printed = (x: Tensor): string => fc.stringify(x);

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
