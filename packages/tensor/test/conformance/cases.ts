import fc from "fast-check";
import { apply } from "../../src/apply.ts";
import { gather, groupedMatmul, scatter, type DeviceName, type DType, type Tensor, where } from "../../src/index.ts";
import { makeNode } from "../../src/node.ts";
import { scoreRange } from "../../src/primitives/assign.ts";
import type { PrimitiveName } from "../../src/primitives/index.ts";
import { scalarOps, scalarRow, type DTypeRule, type ScalarOp } from "../../src/scalar.ts";
import { fromNode } from "../../src/tensor.ts";
import { element, extent, indexInput, inputOf, place, shapeOf, type Input } from "./values.ts";

/** One use of a primitive, to run on any device. */
export interface Case {
  readonly inputs: readonly Input[];
  readonly build: (xs: readonly Tensor[], device: DeviceName) => Tensor;
  /** How far a float may be off: in ulps of the result, plus `eps * scale`. */
  readonly ulps: number;
  readonly scale?: number;
}

const floats: readonly DType[] = ["f32", "f32", "f64", "f16"];
const numbers: readonly DType[] = [...floats, "i32", "u32"];
const all: readonly DType[] = [...numbers, "bool"];

/** Leaves and identities: no inputs to generate, or the identity of one. */
const identity = (build: (x: Tensor) => Tensor): fc.Arbitrary<Case> =>
  fc
    .tuple(shapeOf(0, 3), fc.constantFrom(...all))
    .chain(([shape, dtype]) =>
      inputOf(shape, dtype, true).map((input): Case => ({ inputs: [input], build: ([x]) => build(x), ulps: 0 })),
    );

const leaf = (build: (device: DeviceName) => Tensor): Case => ({
  inputs: [],
  build: (_, device) => build(device),
  ulps: 0,
});

const accepted: { [R in DTypeRule]: readonly DType[] } = {
  float: floats,
  numeric: numbers,
  ordered: all,
  compare: all,
  classify: floats,
  bits: ["i32", "u32", "bool"],
  integer: ["i32", "u32"],
  select: all,
  cast: all,
};

/** Largest error of a scalar op in ulps; all others round once. */
const scalarUlps: { readonly [F in ScalarOp]?: number } = {
  exp: 3,
  expm1: 4,
  log: 3,
  log1p: 4,
  sin: 4,
  cos: 4,
  tan: 6,
  tanh: 4,
  sigmoid: 4,
  softplus: 4,
  erf: 8,
  normalCdf: 8,
  pow: 8,
  rsqrt: 2,
  mod: 1,
};

/** A use of one scalar op. */
export const scalarCase = (fn: ScalarOp): fc.Arbitrary<Case> => {
  const { arity, rule } = scalarRow(fn);
  return fc
    .tuple(shapeOf(0, 3), fc.constantFrom(...accepted[rule]), fc.constantFrom(...all))
    .chain(([shape, dtype, to]) => {
      const values = Array.from({ length: arity }, (_, i) =>
        inputOf(shape, rule === "select" && i === 0 ? "bool" : dtype, true),
      );
      const build = (xs: readonly Tensor[]): Tensor => {
        if (fn === "cast") return dtype === to ? xs[0] : xs[0].cast(to);
        if (fn === "where") return where(xs[0], xs[1], xs[2]);
        return apply("map", xs as [Tensor, ...Tensor[]], { fn });
      };
      return fc.tuple(...values).map((inputs): Case => ({ inputs, build, ulps: scalarUlps[fn] ?? 0 }));
    });
};

const withAxes = (
  min: number,
  dtypes: readonly DType[],
  specials: boolean,
  more: (x: Input) => fc.Arbitrary<Omit<Case, "inputs">>,
): fc.Arbitrary<Case> =>
  fc
    .tuple(shapeOf(min, 4), fc.constantFrom(...dtypes))
    .chain(([shape, dtype]) => inputOf(shape, dtype, specials))
    .chain((input) => more(input).map((rest) => ({ inputs: [input], ...rest })));

/** Sum of the magnitudes that rounding is relative to; a sum with an infinity or a NaN does not round. */
const magnitude = ({ values }: Input): number =>
  values.reduce((sum, x) => sum + (Number.isFinite(x) ? Math.abs(x) : 0), 0);

/** A generator of uses for each primitive. The compiler keeps the table complete. */
export const cases = {
  buffer: identity((x) => x),
  full: fc
    .tuple(shapeOf(0, 3), fc.constantFrom(...all))
    .chain(([shape, dtype]) =>
      element(dtype, true).map((value) =>
        leaf((device) => fromNode(makeNode("full", [], { shape, dtype, value }, device))),
      ),
    ),
  iota: fc
    .tuple(shapeOf(1, 3), fc.constantFrom(...numbers), fc.nat(2))
    .map(([shape, dtype, n]) =>
      leaf((device) => fromNode(makeNode("iota", [], { shape, dtype, axis: n % shape.length }, device))),
    ),
  randomBits: fc
    .tuple(shapeOf(0, 3), fc.nat(0xffffffff), fc.nat(0xffffffff), fc.nat(0xffffffff))
    .map(([shape, a, b, stream]): Case => ({
      inputs: [
        { dtype: "u32", shape: [2], values: [a, b], view: "plain" },
        { dtype: "u32", shape: [], values: [stream], view: "plain" },
      ],
      build: ([key, counter]) => apply("randomBits", [key, counter], { shape }),
      ulps: 0,
    })),
  map: fc.constantFrom(...(Object.keys(scalarOps) as ScalarOp[])).chain(scalarCase),
  reshape: withAxes(0, all, true, ({ shape }) =>
    fc.constantFrom([-1], [...shape, 1], [1, ...shape], shape.toReversed()).map((to) => ({
      build: ([x]: readonly Tensor[]) => x.transpose(0, -1).reshape(to.includes(-1) ? [x.size] : to),
      ulps: 0,
    })),
  ).filter(({ inputs }) => inputs[0].shape.length > 0),
  permute: withAxes(1, all, true, ({ shape }) =>
    fc
      .shuffledSubarray([...shape.keys()], { minLength: shape.length })
      .map((axes) => ({ build: ([x]: readonly Tensor[]) => x.permute(axes), ulps: 0 })),
  ),
  expand: withAxes(1, all, true, ({ shape }) =>
    fc.nat(3).map((n) => ({
      build: ([x]: readonly Tensor[]) =>
        x.expandDims(n % (shape.length + 1)).broadcastTo(shape.toSpliced(n % (shape.length + 1), 0, 3)),
      ulps: 0,
    })),
  ),
  pad: withAxes(1, all, true, ({ shape }) =>
    fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2)).map(([low, high, interior]) => ({
      build: ([x]: readonly Tensor[]) =>
        apply("pad", [x], {
          low: shape.map(() => low),
          high: shape.map(() => high),
          interior: shape.map((_, i) => (i === 0 ? interior : 0)),
        }),
      ulps: 0,
    })),
  ),
  slice: withAxes(1, all, true, () =>
    fc
      .tuple(fc.integer({ min: -4, max: 4 }), fc.integer({ min: -4, max: 8 }), fc.constantFrom(1, 2, 3, -1, -2))
      .map(([start, stop, step]) => ({
        build: ([x]: readonly Tensor[]) => x.slice([start, stop, step]),
        ulps: 0,
      })),
  ),
  concat: fc
    .tuple(shapeOf(1, 3), fc.constantFrom(...all), fc.array(extent, { minLength: 1, maxLength: 3 }), fc.nat(2))
    .chain(([shape, dtype, extents, n]) => {
      const axis = n % shape.length;
      return fc.tuple(...extents.map((e) => inputOf(shape.with(axis, e), dtype, true))).map((inputs): Case => ({
        inputs,
        build: (xs) => apply("concat", xs as [Tensor, ...Tensor[]], { axis }),
        ulps: 0,
      }));
    }),
  reduce: fc.constantFrom("sum", "prod", "max", "min").chain((op) =>
    withAxes(1, op === "sum" || op === "prod" ? numbers : all, true, (input) =>
      fc.subarray([...input.shape.keys()], { minLength: 1 }).map((axes) => ({
        build: ([x]: readonly Tensor[]) => apply("reduce", [x], { op: op as "sum", axes }),
        ulps: op === "prod" ? 40 : 2,
        scale: op === "sum" ? magnitude(input) : 0,
      })),
    ),
  ),
  argReduce: withAxes(1, numbers, true, () =>
    fc
      .constantFrom("max" as const, "min" as const)
      .map((op) => ({ build: ([x]: readonly Tensor[]) => apply("argReduce", [x], { op }), ulps: 0 })),
  ).filter(({ inputs }) => inputs[0].shape.at(-1) !== 0),
  scan: fc.constantFrom("sum" as const, "prod" as const, "max" as const).chain((op) =>
    withAxes(1, numbers, true, (input) =>
      fc.tuple(fc.boolean(), fc.boolean()).map(([reverse, exclusive]) => ({
        build: ([x]: readonly Tensor[]) => apply("scan", [x], { op, reverse, exclusive }),
        ulps: op === "prod" ? 40 : 2,
        scale: op === "sum" ? magnitude(input) : 0,
      })),
    ),
  ),
  matmul: fc
    .tuple(
      fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
      extent,
      extent,
      extent,
      fc.constantFrom(...numbers),
    )
    .chain(([batch, m, k, n, dtype]) =>
      fc
        .tuple(inputOf([...batch, m, k], dtype), inputOf([...batch, k, n], dtype))
        .map((inputs): Case => ({ inputs, build: ([a, b]) => a.matmul(b), ulps: 4, scale: 16 * Math.max(k, 1) })),
    ),
  groupedMatmul: fc
    .tuple(
      fc.array(fc.nat(9), { minLength: 1, maxLength: 6 }),
      fc.nat(3),
      extent,
      extent,
      fc.constantFrom(...numbers),
      fc.boolean(),
    )
    .chain(([sizes, rest, k, n, dtype, contract]) => {
      const offsets = sizes.reduce<number[]>((list, size) => [...list, list[list.length - 1] + size], [0]);
      const m = offsets[offsets.length - 1] + rest;
      const rhs = contract ? [m, n] : [sizes.length, k, n];
      const at: Input = { dtype: "i32", shape: [offsets.length], values: offsets, view: "plain" };
      return fc.tuple(inputOf([m, k], dtype), inputOf(rhs, dtype)).map(([lhs, other]): Case => ({
        inputs: [lhs, other, at],
        build: ([a, b, o]) => groupedMatmul(a, b, o, { mode: contract ? "contract" : "rows" }),
        ulps: 4,
        scale: 16 * Math.max(k, m, 1),
      }));
    }),
  gather: fc
    .tuple(shapeOf(1, 3), fc.constantFrom(...all), fc.nat(2), fc.nat(2), fc.array(extent, { maxLength: 2 }))
    .chain(([shape, dtype, a, b, own]) => {
      const axis = a % shape.length;
      const batch = b % (axis + 1);
      const index = [...shape.slice(0, batch), ...own].slice(0, batch + 2);
      return fc
        .tuple(inputOf(shape, dtype, true), indexInput(index, shape[axis]))
        .map((inputs): Case => ({ inputs, build: ([x, i]) => gather(x, i, axis, { batch }), ulps: 0 }));
    }),
  scatter: fc
    .tuple(
      shapeOf(1, 3),
      fc.constantFrom(...numbers),
      fc.nat(2),
      fc.nat(2),
      extent,
      fc.constantFrom("add" as const, "max" as const, "set" as const),
      fc.boolean(),
    )
    .chain(([shape, dtype, a, b, own, op, sorted]) => {
      const axis = a % shape.length;
      const batch = b % (axis + 1);
      const index = [...shape.slice(0, batch), own];
      const updates = [...shape.slice(0, axis), own, ...shape.slice(axis + 1)];
      return fc.tuple(inputOf(updates, dtype), indexInput(index, shape[axis])).map(([x, i]): Case => {
        const ascending = [...i.values.keys()].map(
          (at) =>
            i.values.slice(at - (at % Math.max(own, 1)), at - (at % Math.max(own, 1)) + own).toSorted((p, q) => p - q)[
              at % Math.max(own, 1)
            ],
        );
        return {
          inputs: [x, sorted ? { ...i, values: ascending } : i],
          build: ([u, at]) => scatter(u, at, shape, { op, axis, batch, sorted }),
          ulps: 2,
          scale: 8 * own,
        };
      });
    }),
  argsort: withAxes(1, numbers, true, () =>
    fc
      .boolean()
      .map((descending) => ({ build: ([x]: readonly Tensor[]) => apply("argsort", [x], { descending }), ulps: 0 })),
  ),
  topK: withAxes(1, numbers, true, ({ shape }) =>
    fc.nat(9).map((n) => ({
      build: ([x]: readonly Tensor[]) => apply("topK", [x], { k: n % (shape[shape.length - 1] + 1) }),
      ulps: 0,
    })),
  ),
  assign: fc
    .tuple(
      fc.array(extent, { maxLength: 1 }),
      fc.nat(20),
      fc.integer({ min: 1, max: 6 }),
      fc.constantFrom(3, scoreRange),
    )
    .chain(([batch, rows, columns, most]) => {
      const shape = [...batch, rows, columns];
      const matrices = batch.reduce((a, b) => a * b, 1);
      const size = matrices * rows * columns;
      const i32 = (shape: readonly number[], values: number[]): Input => ({
        dtype: "i32",
        shape,
        values,
        view: "plain",
      });
      return fc
        .tuple(
          fc.array(fc.nat(most), { minLength: size, maxLength: size }),
          fc.array(fc.integer({ min: -1, max: rows + 1 }), { minLength: matrices, maxLength: matrices }),
        )
        .map(([scores, counts]): Case => ({
          inputs: [i32(shape, scores), i32(batch, counts)],
          build: ([x, count]) => apply("assign", [x, count], {}),
          ulps: 0,
        }));
    }),
  detach: identity((x) => apply("detach", [x], {})),
  after: identity((x) => apply("after", [x, x.eq(x)], {})),
  custom: identity((x) => apply("custom", [x, x], { backward: () => [null], linear: true })),
  call: identity((x) => apply("call", [x, x], { name: "same", options: {} })),
  tag: identity((x) => apply("tag", [x], { kind: "mark", name: "here" })),
  transfer: identity((x) => x.to("cpu").to(x.device)),
} satisfies { [P in PrimitiveName]: fc.Arbitrary<Case> };

/** The tensor that a case makes on a device. */
export const run = ({ inputs, build }: Case, device: DeviceName): Tensor =>
  build(
    inputs.map((input) => place(input, device)),
    device,
  );
