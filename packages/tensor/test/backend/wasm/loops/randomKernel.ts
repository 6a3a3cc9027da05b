import fc from "fast-check";
import { isFloat, type DType, type Shape, type TypedArray, hostArrayFrom } from "../../../../src/types.ts";
import type { Instruction, LoopKernel, Plan, PlanBuffer, Stage, Store, View } from "../../../../src/schedule/plan.ts";
import type { ScalarOp } from "../../../../src/scalar.ts";
import { sizeOf } from "../../../../src/shape.ts";

export interface Case {
  readonly plan: Plan;
  readonly leaves: readonly TypedArray[];
  readonly numbers: readonly number[];
}

type Pick = <T>(values: readonly T[]) => T;

const extents = [0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 70];

/** Ops that are exact on small integers, so that fused, reordered and vectorised sums must agree to the bit. */
const ops: { readonly [D in DType]: readonly ScalarOp[] } = {
  f32: ["add", "sub", "minimum", "maximum", "neg", "abs", "relu", "sign", "floor", "where", "mod"],
  f64: ["add", "sub", "minimum", "maximum", "neg", "abs", "relu", "sign", "ceil", "where"],
  i32: [
    "add",
    "sub",
    "mul",
    "mod",
    "minimum",
    "maximum",
    "and",
    "or",
    "xor",
    "shiftLeft",
    "shiftRight",
    "neg",
    "where",
    "not",
  ],
  u32: [
    "add",
    "sub",
    "mul",
    "mod",
    "minimum",
    "maximum",
    "and",
    "or",
    "xor",
    "shiftLeft",
    "shiftRight",
    "sign",
    "where",
    "not",
  ],
  bool: ["and", "or", "xor", "not", "minimum", "maximum", "eq", "ne", "lt", "le", "gt", "ge", "where"],
};
const unary = new Set<ScalarOp>(["neg", "abs", "relu", "sign", "floor", "ceil", "not"]);

/** A random kernel over random views, with leaves of small integers. */
export const randomCase: fc.Arbitrary<Case> = fc.gen().map((g) => {
  const pick: Pick = (values) => values[g(fc.nat, { max: values.length - 1 })];
  const chance = (percent: number): boolean => g(fc.nat, { max: 99 }) < percent;
  const between = (low: number, high: number): number => low + g(fc.nat, { max: high - low });
  return generate(pick, chance, between);
});

function generate(
  pick: Pick,
  chance: (percent: number) => boolean,
  between: (low: number, high: number) => number,
): Case {
  const dtypes: DType[] = chance(15)
    ? ["f32", "f64", "i32", "bool"]
    : chance(60)
      ? ["f32", "bool"]
      : ["f32", "i32", "u32", "bool"];
  const buffers: PlanBuffer[] = [];
  const leaves: TypedArray[] = [];
  const numbers: { dtype: DType; value: number }[] = [];
  let roots = 0;

  const shape = (rank: number, limit: number): number[] => {
    const out: number[] = [];
    for (let i = 0; i < rank; i++) {
      const extent = chance(3) ? 0 : pick(extents.filter((e) => e > 0 && e * sizeOf(out) <= limit));
      out.push(extent);
    }
    return out;
  };
  const outer = shape(between(0, 3), 150);
  const hasRow = chance(60);
  const row = hasRow ? shape(between(0, 2), 150) : [];

  /** A view whose every element within bounds is at 0 or above, and one past the last. */
  const view = (space: Shape, padded = true): { view: View; size: number } => {
    const order = space.map((_, i) => i);
    for (let i = 0; i + 1 < order.length && chance(40); i++)
      order.push(...order.splice(between(0, order.length - 1), 1));
    const strides = new Array<number>(space.length).fill(0);
    let step = chance(15) ? 2 : 1;
    for (const axis of order.toReversed()) {
      if (chance(20)) continue;
      strides[axis] = step;
      step *= Math.max(space[axis], 1) + (chance(10) ? 1 : 0);
    }
    const bounds =
      padded && chance(25)
        ? space.map((n) =>
            chance(50) ? ([between(-1, Math.max(n, 1)), between(0, n + 1)] as const) : ([0, n] as const),
          )
        : undefined;
    let offset = between(0, 2);
    let last = offset;
    space.forEach((n, axis) => {
      const from = bounds ? Math.max(bounds[axis][0], 0) : 0;
      const to = bounds ? Math.min(bounds[axis][1], n) : n;
      const span = Math.max(to - from - 1, 0) * strides[axis];
      last += span;
      if (strides[axis] !== 0 && chance(15)) {
        strides[axis] *= -1;
        offset += span;
      }
      offset -= from * strides[axis];
    });
    return { view: bounds ? { offset, strides, bounds } : { offset, strides }, size: last + 1 };
  };

  const leaf = (dtype: DType, size: number, low = -6, high = 6): number => {
    const values = Array.from(
      { length: size },
      (_, i) => low + ((i * 7919 + leaves.length * 31 + ((i * i) % 13)) % (high - low + 1)),
    );
    const [from, to] = dtype === "bool" ? [0, 1] : dtype === "u32" ? [0, 9] : [low, high];
    leaves.push(
      hostArrayFrom(
        dtype,
        values.map((x) => from + (Math.abs(x) % (to - from + 1)) * (from < 0 && x < 0 ? -1 : 1) - 0),
      ),
    );
    buffers.push({ dtype, size, source: { kind: "leaf", index: leaves.length - 1 } });
    return buffers.length - 1;
  };

  const loads: { space: string; step: Instruction }[] = [];
  const rowBodies: (readonly Instruction[])[] = [];
  const body = (space: Shape, over: string, reduces: readonly { stage: number; dtype: DType }[]): Instruction[] => {
    // A stage often repeats what an earlier one computes.
    const steps: Instruction[] = over === "row" && rowBodies.length > 0 && chance(40) ? [...pick(rowBodies)] : [];
    const ofDType = (dtype: DType): number[] => steps.flatMap((s, i) => (s.dtype === dtype ? [i] : []));
    const source = (dtype: DType): void => {
      const reusable = loads.filter((l) => l.space === over && l.step.dtype === dtype);
      const kind = between(0, 99);
      if (reusable.length > 0 && kind < 30) steps.push(pick(reusable).step);
      else if (kind < 62) {
        const { view: v, size } = view(space);
        const step: Instruction = { op: "load", dtype, buffer: leaf(dtype, size), view: v };
        loads.push({ space: over, step });
        steps.push(step);
      } else if (kind < 74) {
        const at = view(space);
        const index = view(space);
        steps.push({ op: "load", dtype: "i32", buffer: leaf("i32", index.size, -1, 5), view: index.view });
        const [extent, stride] = [between(0, 5), between(0, 3)];
        const buffer = leaf(dtype, at.size + Math.max(extent - 1, 0) * stride);
        steps.push({ op: "gather", dtype, buffer, view: at.view, index: steps.length - 1, stride, extent });
      } else if (kind < 80) {
        numbers.push({ dtype, value: dtype === "bool" ? 1 : dtype === "u32" ? 3 : -2 });
        steps.push({ op: "number", dtype, slot: numbers.length - 1 });
      } else if (kind < 86) steps.push({ op: "constant", dtype, value: dtype === "bool" ? 1 : 3 });
      else if (kind < 92 && dtype !== "bool") steps.push({ op: "coordinate", dtype, view: view(space).view });
      else if (kind < 96 && dtype === "bool")
        steps.push({ op: "inside", dtype, bounds: space.map((n) => [between(0, 2), between(0, n)] as const) });
      else {
        const wanted = reduces.filter((r) => r.dtype === dtype);
        steps.push(wanted.length > 0 ? { op: "reduced", ...pick(wanted) } : { op: "constant", dtype, value: 1 });
      }
    };
    const value = (dtype: DType): number => {
      if (ofDType(dtype).length === 0 || chance(40)) source(dtype);
      return pick(ofDType(dtype));
    };
    for (let count = between(1, 6); count > 0; count--) {
      const dtype = pick(dtypes);
      if (chance(20)) {
        const from = value(pick(dtypes));
        steps.push({ op: "map", fn: "cast", dtype, args: [from] });
        continue;
      }
      const fn = pick(ops[dtype]);
      if (fn === "where") {
        const args = [value("bool"), value(dtype), value(dtype)];
        steps.push({ op: "map", fn, dtype, args });
      } else {
        const compares = ["eq", "ne", "lt", "le", "gt", "ge"].includes(fn);
        const operands = compares ? pick(dtypes) : dtype;
        const args = unary.has(fn) ? [value(operands)] : [value(operands), value(operands)];
        steps.push({ op: "map", fn, dtype, args });
      }
    }
    if (over === "row") rowBodies.push(steps);
    return steps;
  };

  const stores = (space: Shape, steps: readonly Instruction[]): Store[] =>
    Array.from({ length: between(1, 2) }, () => {
      const value = between(0, steps.length - 1);
      const order = space.map((_, i) => i);
      if (chance(25)) order.push(...order.splice(between(0, Math.max(order.length - 1, 0)), 1));
      const strides = new Array<number>(space.length).fill(0);
      let step = 1;
      for (const axis of order.toReversed()) {
        strides[axis] = step;
        step *= space[axis];
      }
      buffers.push({ dtype: steps[value].dtype, size: sizeOf(space), source: { kind: "root", index: roots++ } });
      return { buffer: buffers.length - 1, view: { offset: 0, strides }, value };
    });

  const stages: Stage[] = [];
  const reduces: { stage: number; dtype: DType }[] = [];
  const all = [...outer, ...row];
  if (hasRow) {
    for (let count = between(1, 3); count > 0; count--) {
      if (chance(65)) {
        const steps = body(all, "row", reduces);
        const value = between(0, steps.length - 1);
        const { dtype } = steps[value];
        const op = dtype === "bool" ? pick(["max", "min"] as const) : pick(["sum", "max", "min", "prod"] as const);
        reduces.push({ stage: stages.length, dtype });
        stages.push({
          kind: "reduce",
          op: isFloat(dtype) && op === "prod" && sizeOf(row) > 16 ? "sum" : op,
          dtype,
          value,
          body: steps,
        });
      } else {
        const steps = body(all, "row", reduces);
        stages.push({ kind: "map", over: "row", body: steps, stores: stores(all, steps) });
      }
    }
  }
  if (!hasRow || chance(60)) {
    const steps = body(outer, "outer", reduces);
    for (const r of reduces) steps.push({ op: "reduced", ...r });
    stages.push({ kind: "map", over: "outer", body: steps, stores: stores(outer, steps) });
    for (const r of reduces) {
      const value = steps.findIndex((s) => s.op === "reduced" && s.stage === r.stage);
      stages.push({
        kind: "map",
        over: "outer",
        body: steps,
        stores: stores(outer, [steps[value]]).map((s) => ({ ...s, value })),
      });
    }
  }
  const kernel: LoopKernel = { kind: "loop", name: "random", outer, row, stages };
  return {
    plan: { buffers, kernels: [kernel], numbers: numbers.map((n) => n.dtype) },
    leaves,
    numbers: numbers.map((n) => n.value),
  };
}
