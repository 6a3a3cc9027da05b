import { DTypeError, ShapeError } from "../errors.ts";
import { describe, sameShape, sizeOf } from "../shape.ts";
import { plainKey, type Primitive, type Spec } from "./primitive.ts";
import { combine } from "./reduce.ts";

const checkOperands = (op: string, a: Spec, b: Spec): void => {
  if (a.dtype !== b.dtype)
    throw new DTypeError(`${op}: dtypes differ (got ${describe(a)}, ${describe(b)}); cast one of them`);
  if (a.dtype === "bool")
    throw new DTypeError(`${op}: takes numbers (got ${describe(a)}); cast first, for example .cast("f32")`);
};

/** `[...b, m, k] · [...b, k, n] -> [...b, m, n]`. Batch axes are equal: broadcasting is written with `expand`. */
export const matmul: Primitive<object> = {
  infer: ([a, b]) => {
    checkOperands("matmul", a, b);
    const batch = a.shape.slice(0, -2);
    if (a.shape.length < 2 || b.shape.length < 2 || !sameShape(batch, b.shape.slice(0, -2))) {
      throw new ShapeError(`matmul: takes matrices with equal batch axes (got ${describe(a)}, ${describe(b)})`);
    }
    const [m, k] = a.shape.slice(-2);
    const [rows, n] = b.shape.slice(-2);
    if (k !== rows)
      throw new ShapeError(
        `matmul: lhs has ${k} columns but rhs has ${rows} rows (got ${describe(a)}, ${describe(b)})`,
      );
    return { shape: [...batch, m, n], dtype: a.dtype };
  },
  reference: (out, [a, b]) => {
    const [m, k] = a.shape.slice(-2);
    const n = b.shape[b.shape.length - 1];
    const add = combine("sum", a.dtype);
    const mul = combine("prod", a.dtype);
    for (let batch = 0; batch < sizeOf(a.shape.slice(0, -2)); batch++) {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let p = 0; p < k; p++)
            sum = add(sum, mul(a.data[(batch * m + i) * k + p], b.data[(batch * k + p) * n + j]));
          out.data[(batch * m + i) * n + j] = sum;
        }
      }
    }
  },
  key: () => "",
};

export interface GroupedMatmulAttrs {
  readonly mode: "rows" | "contract";
}

/**
 * Multiplies each run of rows by its own matrix. `offsets: i32[g + 1]` ascends from 0; group `i` is rows
 * `offsets[i]..offsets[i + 1]`. Empty groups are legal.
 *
 * - `rows`: `[m, k] · [g, k, n] -> [m, n]`; rows past the last offset give zeros.
 * - `contract`: `[m, k]ᵀ · [m, n] -> [g, k, n]`; rows past the last offset are ignored, an empty group gives zeros.
 */
export const groupedMatmul: Primitive<GroupedMatmulAttrs> = {
  infer: ([lhs, rhs, offsets], { mode }) => {
    const got = `(got ${describe(lhs)}, ${describe(rhs)}, offsets ${describe(offsets)})`;
    checkOperands("groupedMatmul", lhs, rhs);
    if (offsets.dtype !== "i32" || offsets.shape.length !== 1 || offsets.shape[0] < 1) {
      throw new ShapeError(`groupedMatmul: offsets must be i32[groups + 1] ${got}`);
    }
    const groups = offsets.shape[0] - 1;
    if (lhs.shape.length !== 2 || rhs.shape.length !== (mode === "rows" ? 3 : 2)) {
      throw new ShapeError(
        `groupedMatmul: mode "${mode}" takes [m, k] and ${mode === "rows" ? "[g, k, n]" : "[m, n]"} ${got}`,
      );
    }
    const [m, k] = lhs.shape;
    if (mode === "contract") {
      if (rhs.shape[0] !== m)
        throw new ShapeError(`groupedMatmul: lhs has ${m} rows but rhs has ${rhs.shape[0]} ${got}`);
      return { shape: [groups, k, rhs.shape[1]], dtype: lhs.dtype };
    }
    if (rhs.shape[1] !== k)
      throw new ShapeError(`groupedMatmul: lhs has ${k} columns but rhs has ${rhs.shape[1]} rows ${got}`);
    if (rhs.shape[0] !== groups)
      throw new ShapeError(
        `groupedMatmul: rhs has ${rhs.shape[0]} matrices but offsets describe ${groups} groups ${got}`,
      );
    return { shape: [m, rhs.shape[2]], dtype: lhs.dtype };
  },
  reference: (out, [lhs, rhs, offsets], { mode }) => {
    const [m, k] = lhs.shape;
    const n = rhs.shape[rhs.shape.length - 1];
    const add = combine("sum", lhs.dtype);
    const mul = combine("prod", lhs.dtype);
    for (let g = 0; g + 1 < offsets.data.length; g++) {
      const end = Math.min(offsets.data[g + 1], m);
      if (mode === "rows") {
        for (let i = offsets.data[g]; i < end; i++) {
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let p = 0; p < k; p++) sum = add(sum, mul(lhs.data[i * k + p], rhs.data[(g * k + p) * n + j]));
            out.data[i * n + j] = sum;
          }
        }
      } else {
        for (let p = 0; p < k; p++) {
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let i = offsets.data[g]; i < end; i++) sum = add(sum, mul(lhs.data[i * k + p], rhs.data[i * n + j]));
            out.data[(g * k + p) * n + j] = sum;
          }
        }
      }
    }
  },
  key: plainKey,
};
