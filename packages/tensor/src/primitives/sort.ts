import { DTypeError, ShapeError } from "../errors.ts";
import { describe } from "../shape.ts";
import { plainKey, type HostArray, type Primitive, type Spec } from "./primitive.ts";
import { eachRow } from "./reduce.ts";

export interface ArgsortAttrs {
  readonly descending: boolean;
}

const rejectBool = (op: string, x: Spec): void => {
  if (x.dtype === "bool")
    throw new DTypeError(`${op}: takes numbers (got ${describe(x)}); cast first, for example .cast("i32")`);
};

/** The order of a row: stable, ties to the lower index, NaN last in both directions. */
function orderOf(x: HostArray, start: number, length: number, descending: boolean): number[] {
  const sign = descending ? -1 : 1;
  const compare = (i: number, j: number): number => {
    const a = x.data[start + i];
    const b = x.data[start + j];
    if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b)) || i - j;
    return (a < b ? -sign : a > b ? sign : 0) || i - j;
  };
  return Array.from({ length }, (_, i) => i).sort(compare);
}

/** The permutation that sorts each row of the last axis. Indices only: values come by `gather`. */
export const argsort: Primitive<ArgsortAttrs> = {
  infer: ([x]) => {
    rejectBool("argsort", x);
    return { shape: x.shape, dtype: "i32" };
  },
  reference: (out, [x], { descending }) =>
    eachRow(x, (_, start, length) => out.data.set(orderOf(x, start, length, descending), start)),
  key: plainKey,
};

export interface TopKAttrs {
  readonly k: number;
}

/** The indices of the `k` largest elements of each row of the last axis, largest first: the head of a descending argsort. */
export const topK: Primitive<TopKAttrs> = {
  infer: ([x], { k }) => {
    rejectBool("topK", x);
    const length = x.shape[x.shape.length - 1];
    if (!Number.isInteger(k) || k < 0 || k > length) {
      throw new ShapeError(
        `topK: k must be an integer from 0 to the axis length ${length}, got ${k} (on ${describe(x)})`,
      );
    }
    return { shape: [...x.shape.slice(0, -1), k], dtype: "i32" };
  },
  reference: (out, [x], { k }) =>
    eachRow(x, (row, start, length) => out.data.set(orderOf(x, start, length, true).slice(0, k), row * k)),
  key: plainKey,
};
