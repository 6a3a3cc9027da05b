import { wasmDType, type WasmDType } from "../../../../src/backend/wasm/dtypes.ts";
import { describe, expect, test } from "vitest";
import { mathImports } from "../../../../src/backend/wasm/math.ts";
import { scalarDType, scalarOps, scalarRow, type ScalarOp } from "../../../../src/scalar.ts";
import type { Instruction, Plan } from "../../../../src/schedule/plan.ts";
import { hostArrayFrom, type DType } from "../../../../src/types.ts";
import { interpret } from "../../../schedule/interpreter.ts";
import { execute } from "./harness.ts";

const dtypes: readonly DType[] = ["f32", "f64", "i32", "u32", "bool"];

const floats = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  -1.5,
  2.5,
  -2.5,
  0.3,
  -0.3,
  3,
  -3,
  7.25,
  -7.25,
  Infinity,
  -Infinity,
  NaN,
  1e-30,
  -1e-30,
  1e10,
  -1e10,
  2 ** -149,
  -(2 ** -149),
  3.4028234663852886e38,
  -3.4028234663852886e38,
  8388609,
  2147483647,
  2147483648,
  -2147483648,
  4294967295,
  4294967296,
  1e6,
  100.7,
  -88.5,
  0.9999999,
  Math.PI,
];
const specials: { readonly [D in WasmDType]: readonly number[] } = {
  f32: floats,
  f64: [...floats, 1e-310, 1e308, 0.1, 2 ** 53 + 2, 5e-324],
  i32: [
    0, 1, -1, 2, -2, 3, -3, 7, -7, 31, 32, 33, 64, 100, -100, 0x7fffffff, -0x80000000, 0x7ffffffe, -0x7fffffff,
    16777217, 65536,
  ],
  u32: [
    0, 1, 2, 3, 7, 31, 32, 33, 64, 100, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffffffe, 16777217, 65536,
  ],
  bool: [0, 1, 1, 0, 0],
};

/** Whether every op of f32 but these is exact: the correctly rounded result of its definition. */
const approximate = (fn: ScalarOp): boolean => fn in mathImports && fn !== "mod";

function accepts(fn: ScalarOp, dtype: DType): boolean {
  const spec = { shape: [], dtype };
  const operands =
    scalarRow(fn).rule === "select" ? [{ shape: [], dtype: "bool" as const }, spec, spec] : [spec, spec, spec];
  try {
    scalarDType(fn, operands.slice(0, scalarRow(fn).arity), "f32");
    return true;
  } catch {
    return false;
  }
}

/** A plan that applies an op to every combination of specials, the last operand read with stride 0 if `uniform`. */
function combinations(fn: ScalarOp, dtype: DType, to: DType | undefined, uniform: boolean) {
  const { arity } = scalarRow(fn);
  const dtypesOf: DType[] = fn === "where" ? ["bool", dtype, dtype] : new Array<DType>(arity).fill(dtype);
  const outer = dtypesOf.map((d) => specials[wasmDType(d)].length);
  const axes = uniform ? outer.map((_, i) => (i + 1) % arity) : outer.map((_, i) => i);
  const shape = axes.map((axis) => outer[axis]);
  const body: Instruction[] = dtypesOf.map((d, operand) => ({
    op: "load",
    dtype: d,
    buffer: operand,
    view: { offset: 0, strides: axes.map((axis) => (axis === operand ? 1 : 0)) },
  }));
  const result = scalarDType(
    fn,
    dtypesOf.map((d) => ({ shape: [], dtype: d })),
    to,
  );
  body.push({ op: "map", dtype: result, fn, args: dtypesOf.map((_, i) => i) });
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const plan: Plan = {
    buffers: [
      ...dtypesOf.map((d, index) => ({ dtype: d, size: outer[index], source: { kind: "leaf", index } as const })),
      { dtype: result, size: shape.reduce((a, b) => a * b, 1), source: { kind: "root", index: 0 } },
    ],
    numbers: [],
    kernels: [
      {
        kind: "loop",
        name: fn,
        outer: shape,
        row: [],
        stages: [
          { kind: "map", over: "outer", body, stores: [{ buffer: arity, view: { offset: 0, strides }, value: arity }] },
        ],
      },
    ],
  };
  return { plan, leaves: dtypesOf.map((d) => hostArrayFrom(d, specials[wasmDType(d)])) };
}

/** Distance in floats between two f32. */
function floatsApart(a: number, b: number): number {
  const [x, y] = new Int32Array(Float32Array.of(a, b).buffer);
  const order = (bits: number): number => (bits < 0 ? -(bits & 0x7fffffff) : bits);
  return Object.is(a, b) ? 0 : Number.isNaN(a) || Number.isNaN(b) ? Infinity : Math.abs(order(x) - order(y));
}

type Case = [fn: ScalarOp, dtype: DType, to: DType | ""];

const cases: Case[] = (Object.keys(scalarOps) as ScalarOp[]).flatMap((fn) =>
  dtypes
    .filter((dtype) => accepts(fn, dtype))
    .flatMap((dtype): Case[] => (fn === "cast" ? dtypes.map((to) => [fn, dtype, to]) : [[fn, dtype, ""]])),
);

describe.each([true, false])("relaxed multiply-add %s", (relaxedMadd) => {
  test.each(cases)("%s of %s %s is what its definition says at every combination of specials", (fn, dtype, to) => {
    for (const uniform of [false, true]) {
      const { plan, leaves } = combinations(fn, dtype, to || undefined, uniform);
      const [expected] = interpret(plan, leaves, []);
      const { roots } = execute(plan, leaves, [], { relaxedMadd });
      const bound = dtype === "f32" && approximate(fn) ? 5 : 0;
      const wrong = expected.findIndex((x, i) =>
        bound > 0 ? floatsApart(roots[0][i], x) > bound : !Object.is(roots[0][i], x),
      );
      expect(wrong < 0 ? "" : `at ${wrong}: ${roots[0][wrong]}, not ${expected[wrong]}`).toBe("");
    }
  });
});
