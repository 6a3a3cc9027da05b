/**
 * Reductions in lanes. The lanes and the order of every addition follow from the row's length alone, never from tiles or threads.
 *
 * A sum of f32 runs in blocks: 32 terms per lane in f32, then the lanes are added to totals in f64. So its error is that of
 * adding 32 numbers, however long the row. Products of f32 are f64 throughout: partial ones would overflow.
 */
import { identityOf, type ReduceOp } from "../../../primitives/reduce.ts";
import type { DType } from "../../../types.ts";
import { f32, f32x4, f64, f64x2, i32x4, v128, type V128 } from "../assembler.ts";
import { splatConstant, type Emission, type Vector } from "./emission.ts";
import { laneOf } from "./scalarOps.ts";

/** Terms that one lane adds up in f32. */
export const BLOCK = 32;

export interface Accumulator {
  /** Whether terms come in blocks of `BLOCK` per lane, each between `open` and `close`. */
  readonly blocked: boolean;
  readonly open: () => void;
  readonly add: (u: number, value: Vector) => void;
  readonly close: () => void;
  /** The result: for each vector, or if lanes and vectors share one row, that row's in every lane. */
  readonly finish: () => Vector[];
}

const combining = { sum: "add", prod: "mul", max: "maximum", min: "minimum" } as const satisfies Record<
  ReduceOp,
  string
>;

/** An accumulator at its identity. `shared`: all lanes and vectors belong to one row. */
export function accumulator(e: Emission, op: ReduceOp, dtype: DType, vectors: number, shared: boolean): Accumulator {
  if (dtype === "f32" && op === "sum") return blockedSum(e, vectors, shared);
  if (dtype === "f32" && op === "prod") return wideProduct(e, vectors, shared);
  return plain(e, op, dtype, vectors, shared);
}

export const identityVector = (op: ReduceOp, dtype: DType): V128 => splatConstant(dtype, identityOf(op, dtype));

const unused = (): void => {};

function plain(e: Emission, op: ReduceOp, dtype: DType, vectors: number, shared: boolean): Accumulator {
  const { f } = e;
  const lane = laneOf(combining[op], dtype)!;
  const context = { f, to: dtype, width: e.nest.width, uniform: false, import: e.import };
  const join = (a: Vector, b: Vector): V128 => lane(context, a, b, b);
  const accumulators = Array.from({ length: vectors }, () => f.let(identityVector(op, dtype)));
  const finish = (): Vector[] => {
    const all = foldList(accumulators, (a, b) => f.let(join(a, b)));
    const swaps = dtype === "f64" || e.nest.width === 4 ? [[2, 3, 0, 1]] : [];
    if (dtype !== "f64") swaps.push([1, 0, 3, 2]);
    const folded = swaps.reduce((x, order) => f.let(join(x, f.let(v128.shuffle32(x, x, order)))), all);
    return [f.let(dtype === "f64" ? f64x2.splat(f64x2.extract(folded, 0)) : i32x4.splat(i32x4.extract(folded, 0)))];
  };
  return {
    blocked: false,
    open: unused,
    close: unused,
    add: (u, value) => f.set(accumulators[u], join(accumulators[u], value)),
    finish: () => (shared ? finish() : accumulators),
  };
}

/** Pairwise: 0 with 1, 2 with 3, and so on. */
function foldList<T>(list: readonly T[], join: (a: T, b: T) => T): T {
  if (list.length === 1) return list[0];
  const half = Math.ceil(list.length / 2);
  const folded = Array.from({ length: half }, (_, i) =>
    2 * i + 1 < list.length ? join(list[2 * i], list[2 * i + 1]) : list[2 * i],
  );
  return foldList(folded, join);
}

/** Totals in f64 of a vector of f32: its two low lanes and, if it has them, its two high ones. */
function wideTotals(e: Emission, op: "sum" | "prod", count: number) {
  const { f, nest } = e;
  const join = op === "sum" ? f64x2.add : f64x2.mul;
  const halves = nest.width / 2;
  const totals = Array.from({ length: count }, () =>
    Array.from({ length: halves }, () => f.let(f64x2.const(op === "sum" ? 0 : 1))),
  );
  return {
    add: (u: number, value: Vector): void => {
      totals[u].forEach((total, half) => {
        const part = half === 0 ? value : v128.shuffle32(value, value, [2, 3, 2, 3]);
        f.set(total, join(total, f64x2.promote_low_f32x4(part)));
      });
    },
    /** Each vector's totals, rounded to f32. */
    lanes: (): Vector[] =>
      totals.map((parts) => {
        const [low, high] = parts.map((part) => f.let(f32x4.demote_f64x2_zero(part)));
        return high === undefined ? low : f.let(v128.shuffle32(low, high, [0, 1, 4, 5]));
      }),
    /** All of them combined and rounded once, in every lane. */
    single: (): Vector[] => {
      const all = foldList(totals.flat(), (a, b) => f.let(join(a, b)));
      const combine = op === "sum" ? f64.add : f64.mul;
      const total = combine(f64x2.extract(all, 0), f64x2.extract(all, 1));
      return [f.let(f32x4.splat(f32.demote_f64(total)))];
    },
  };
}

function blockedSum(e: Emission, vectors: number, shared: boolean): Accumulator {
  const { f } = e;
  const totals = wideTotals(e, "sum", shared ? 1 : vectors);
  const block = Array.from({ length: vectors }, () => f.local("v128"));
  return {
    blocked: true,
    open: () => block.forEach((sum) => f.set(sum, f32x4.const(0))),
    add: (u, value) => f.set(block[u], f32x4.add(block[u], value)),
    close: () => {
      if (shared)
        totals.add(
          0,
          foldList(block, (a, b) => f.let(f32x4.add(a, b))),
        );
      else block.forEach((sum, u) => totals.add(u, sum));
    },
    finish: shared ? totals.single : totals.lanes,
  };
}

function wideProduct(e: Emission, vectors: number, shared: boolean): Accumulator {
  const totals = wideTotals(e, "prod", vectors);
  return {
    blocked: false,
    open: unused,
    close: unused,
    add: (u, value) => totals.add(u, value),
    finish: shared ? totals.single : totals.lanes,
  };
}
