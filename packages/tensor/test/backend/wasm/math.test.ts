import { describe, expect, test } from "vitest";
import {
  assemble,
  f32x4,
  i32,
  i32x4,
  v128,
  type Callable,
  type Func,
  type V128,
} from "../../../src/backend/wasm/assembler.ts";
import { detectFeatures } from "../../../src/backend/wasm/features.ts";
import * as math from "../../../src/backend/wasm/math.ts";

type Emit = (f: Func, x: V128, y: V128, slow: Callable<"f64">) => V128;

const SPECIALS = [
  0,
  -0,
  1,
  -1,
  2,
  -2,
  0.5,
  -0.5,
  3,
  -3,
  Infinity,
  -Infinity,
  NaN,
  2 ** -149,
  -(2 ** -149),
  2 ** -126,
  -(2 ** -126),
  2 ** -127,
  3.4028234663852886e38,
  -3.4028234663852886e38,
  1e-20,
  -1e-20,
  1e20,
  88.7,
  88.8,
  -87.4,
  -103.9,
  -104,
  16777217,
  2147483648,
  -2147483648,
  4294967296,
];

/** Maps pairs of f32 through an emitted function. */
function mapper(emit: Emit, slow: math.MathImport, arity: number, relaxedMadd: boolean) {
  const bytes = assemble({ shared: false, relaxedMadd }, (m) => {
    m.importMemory("env", "memory");
    const exact = m.importFunction("math", slow, arity === 1 ? ["f64"] : ["f64", "f64"], "f64");
    m.define(
      { count: "i32" },
      "void",
      (f, { count }) => {
        const i = f.local("i32");
        f.for(i, 0, i32.mul(count, 12), 48, () => {
          const [x, y] = [f.let(v128.load(i)), f.let(v128.load(i, 16))];
          f.do(v128.store(i, emit(f, x, y, exact), 32));
        });
      },
      "run",
    );
  });
  const module = new WebAssembly.Module(bytes);
  return (xs: Float32Array, ys = xs): Float32Array => {
    const memory = new WebAssembly.Memory({ initial: 2 + Math.ceil((xs.length * 12) / 65536) });
    const floats = new Float32Array(memory.buffer);
    for (let i = 0; i < xs.length; i += 4) {
      floats.set(xs.subarray(i, i + 4), i * 3);
      floats.set(ys.subarray(i, i + 4), i * 3 + 4);
    }
    const { exports } = new WebAssembly.Instance(module, { env: { memory }, math: math.mathImports });
    (exports["run"] as (count: number) => void)(xs.length);
    return Float32Array.from(xs, (_, i) => floats[(i >> 2) * 12 + 8 + (i & 3)]!);
  };
}

/** Distance from the truth in units of its last place as an f32. */
function ulps(got: number, truth: number): number {
  const rounded = Math.fround(truth);
  if (Object.is(got, rounded) || (Number.isNaN(got) && Number.isNaN(truth))) return 0;
  if (!Number.isFinite(rounded) || !Number.isFinite(got)) {
    // Beyond the largest float the last place continues as if there were one binade more.
    return Math.abs(Math.abs(truth) - 2 ** 128) < 2 ** 106 ? 1 : Infinity;
  }
  if (got === 0 && rounded === 0) return Infinity; // the wrong zero
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(truth))), -126) - 23);
  return Math.abs(got - truth) / unit;
}

let state = 12345;
const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;

/** A dense sweep of the range, random bit patterns of every magnitude, and the specials. */
function points(low: number, high: number): Float32Array {
  const dense = Array.from({ length: 40000 }, () => low + (high - low) * random());
  const bits = new Float32Array(Uint32Array.from({ length: 40000 }, () => random() * 2 ** 32).buffer);
  return Float32Array.from([...dense, ...bits, ...SPECIALS]);
}

interface Case {
  emit: Emit;
  range: [number, number];
  bound: number;
}
type Unary = Exclude<math.MathImport, "pow" | "mod">;
const unary: Record<Unary, Case> = {
  exp: { emit: math.exp, range: [-104, 89], bound: 1 },
  expm1: { emit: math.expm1, range: [-18, 10], bound: 2 },
  log: { emit: math.log, range: [0, 8], bound: 1 },
  log1p: { emit: math.log1p, range: [-1, 3], bound: 2 },
  tanh: { emit: math.tanh, range: [-10, 10], bound: 2 },
  sigmoid: { emit: math.sigmoid, range: [-104, 20], bound: 2 },
  softplus: { emit: math.softplus, range: [-104, 20], bound: 3 },
  erf: { emit: math.erf, range: [-4.5, 4.5], bound: 2 },
  normalCdf: { emit: math.normalCdf, range: [-14.5, 6], bound: 4 },
  sin: { emit: (f, x, _, slow) => math.sin(f, x, slow), range: [-1e5, 1e5], bound: 2 },
  cos: { emit: (f, x, _, slow) => math.cos(f, x, slow), range: [-1e5, 1e5], bound: 2 },
  tan: { emit: (f, x, _, slow) => math.tan(f, x, slow), range: [-1e5, 1e5], bound: 4 },
  rsqrt: { emit: math.rsqrt, range: [0, 100], bound: 1.5 },
};

describe.each([true, false].filter((relaxed) => !relaxed || detectFeatures().relaxedMadd))(
  "relaxed multiply-add %s",
  (relaxedMadd) => {
    test.each(Object.entries(unary))(
      "%s keeps its bound over a sweep, random bits and the specials",
      (name, { emit, range, bound }) => {
        const run = mapper(emit, name as Unary, 1, relaxedMadd);
        for (const [low, high] of [range, [-1, 1], [range[0] / 50, range[1] / 50]] as const) {
          const xs = points(low, high);
          const truth = math.mathImports[name as Unary];
          const got = run(xs);
          let worst = 0;
          let at = 0;
          xs.forEach((x, i) => {
            const off = ulps(got[i]!, truth(x));
            if (!(off <= worst)) [worst, at] = [off, i];
          });
          expect(worst, `${name}(${xs[at]}) = ${got[at]}, not ${truth(xs[at]!)}`).toBeLessThanOrEqual(bound);
        }
      },
    );

    test.each(["pow", "mod"] as const)("%s keeps its bound for every pair of specials and over a sweep", (name) => {
      const emit: Emit = name === "pow" ? math.pow : math.mod;
      const run = mapper(emit, name, 2, relaxedMadd);
      const truth = math.mathImports[name];
      const pairs = SPECIALS.flatMap((x) => SPECIALS.map((y) => [x, y]));
      for (let i = 0; i < 60000; i++)
        pairs.push([random() * 20 - (i % 2 ? 0 : 10), i % 3 ? Math.round(random() * 20 - 10) : random() * 40 - 20]);
      const xs = Float32Array.from(pairs, ([x]) => x!);
      const ys = Float32Array.from(pairs, ([, y]) => y!);
      const got = run(xs, ys);
      xs.forEach((x, i) => {
        const off = ulps(got[i]!, truth(x, ys[i]!));
        if (!(off <= 1))
          expect(off, `${name}(${x}, ${ys[i]}) = ${got[i]}, not ${truth(x, ys[i]!)}`).toBeLessThanOrEqual(1);
      });
    });
  },
);

test("rounding is to even, floor and ceiling keep the sign of zero, and casts to integers saturate", () => {
  const xs = Float32Array.of(0.5, 1.5, 2.5, -0.5, -1.5, -0.2, 0.2, 7, 3e9, -3e9, 5e9, NaN, Infinity, -Infinity, -1, 0);
  const map = (op: (x: V128) => V128): Float32Array => mapper((_, x) => op(x), "exp", 1, false)(xs);
  const ints = (op: (x: V128) => V128): number[] => [...new Int32Array(map(op).buffer)];
  const most = 2 ** 31 - 1;
  expect([...map(f32x4.nearest)].slice(0, 7)).toEqual([0, 2, 2, -0, -2, -0, 0]);
  expect(map(f32x4.floor)).toEqual(xs.map(Math.floor));
  expect(map(f32x4.ceil)).toEqual(xs.map(Math.ceil));
  expect(ints(i32x4.trunc_sat_f32x4_s)).toEqual([
    0,
    1,
    2,
    0,
    -1,
    0,
    0,
    7,
    most,
    -most - 1,
    most,
    0,
    most,
    -most - 1,
    -1,
    0,
  ]);
  expect(ints(i32x4.trunc_sat_f32x4_u).map((x) => x >>> 0)).toEqual([
    0,
    1,
    2,
    0,
    0,
    0,
    0,
    7,
    3e9,
    0,
    2 ** 32 - 1,
    0,
    2 ** 32 - 1,
    0,
    0,
    0,
  ]);
});
