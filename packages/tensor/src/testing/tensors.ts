import * as fc from "fast-check";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { isFloat, type DType, type FloatDType, type Shape } from "../types.ts";
import { filled } from "./elements.ts";
import { literalTensor, mapLiteral, viewOfLiteral } from "./literal.ts";
import { fixedLength, orderOf, permutationOf } from "./shapes.ts";
import type { SliceRange } from "../functions/views.ts";

/** A shape: numbers and arbitraries of numbers, axis by axis, or an arbitrary of whole shapes. */
export type AnyShape = readonly (number | fc.Arbitrary<number>)[] | fc.Arbitrary<Shape>;

export interface TensorConstraints<D extends DType> {
  readonly shape: AnyShape;
  /** f32 by default. */
  readonly dtype?: D;
  /** By default -4 and 4 for floats, -100 and 100 for i32, 0 and 100 for u32. */
  readonly min?: number;
  readonly max?: number;
  /** Also 0, -0 and the bounds themselves. */
  readonly corners?: boolean;
  /** True by default; false lets NaN in. */
  readonly noNaN?: boolean;
  /** True by default; false lets both infinities in. */
  readonly noInfinity?: boolean;
}

/**
 * Tensors on the default device. Floats are finite and, unless `corners` asks for it, never 0 nor within about a thousandth of the
 * range from it, so that a finite difference does not step over the kink that many functions have there. Shrinks to smaller shapes and
 * to simple numbers, 0.25 first.
 */
export const tensorOf = <D extends DType = "f32">(constraints: TensorConstraints<D>): fc.Arbitrary<Tensor<D>> => {
  const dtype = constraints.dtype ?? ("f32" as D);
  return filled(shapeOf(constraints.shape), (shape) => shape, elementOf(dtype, constraints)).map(
    ({ structure, values }) => literalTensor(structure, dtype, values),
  );
};

function shapeOf(shape: AnyShape): fc.Arbitrary<Shape> {
  if (!Array.isArray(shape)) return shape as fc.Arbitrary<Shape>;
  return fc.tuple(...shape.map((n: number | fc.Arbitrary<number>) => (typeof n === "number" ? fc.constant(n) : n)));
}

const ranges = { f16: [-4, 4], f32: [-4, 4], f64: [-4, 4], i32: [-100, 100], u32: [0, 100], bool: [0, 1] } satisfies {
  [D in DType]: [number, number];
};

function elementOf(dtype: DType, constraints: Omit<TensorConstraints<DType>, "shape">): fc.Arbitrary<number> {
  const { min = ranges[dtype][0], max = ranges[dtype][1], corners = false } = constraints;
  if (!isFloat(dtype)) return fc.integer({ min, max });
  const special = [
    ...(corners ? [0, -0, min, max].filter((x) => x >= min && x <= max) : []),
    ...(constraints.noNaN === false ? [NaN] : []),
    ...(constraints.noInfinity === false ? [Infinity, -Infinity] : []),
  ];
  const ordinary = ordinaryNumber(min, max);
  return special.length === 0
    ? ordinary
    : fc.oneof({ weight: 4, arbitrary: ordinary }, { weight: 1, arbitrary: fc.constantFrom(...special) });
}

/** Short binary fractions that f32 holds: midpoints of a grid of 1024 to 2048 cells, which shrink to odd quarters where there are any. */
function ordinaryNumber(min: number, max: number): fc.Arbitrary<number> {
  if (min === max) return fc.constant(min);
  const step = 2 ** Math.floor(Math.log2((max - min) / 1024));
  const fine = midpoints(min, max, step)!;
  const readable = step > 1 / 4 ? undefined : midpoints(min, max, 1 / 2);
  return readable === undefined ? fine : fc.oneof({ withCrossShrink: true }, readable, { weight: 4, arbitrary: fine });
}

/** Midpoints of a grid's cells, if a whole one fits between the bounds. */
function midpoints(min: number, max: number, step: number): fc.Arbitrary<number> | undefined {
  const cells = { min: Math.ceil(min / step - 0.5), max: Math.floor(max / step - 0.5) };
  return cells.min > cells.max ? undefined : fc.integer(cells).map((cell) => (cell + 0.5) * step);
}

export interface WellConditionedConstraints<D extends DType> {
  readonly shape: AnyShape;
  readonly dtype?: D;
}

/**
 * Tensors that finite differences, products and quotients are at ease with: magnitudes from 1/2 to 2, of either sign, all
 * distinct and evenly apart, so that no maximum, order or top-k is near a tie.
 */
export const wellConditioned = <D extends FloatDType = "f32">({
  shape,
  dtype = "f32" as D,
}: WellConditionedConstraints<D>): fc.Arbitrary<Tensor<D>> =>
  shapeOf(shape).chain((extents) => {
    const size = sizeOf(extents);
    return fc.tuple(permutationOf(size), fc.array(fc.boolean(), fixedLength(size))).map(([ranks, negative]) =>
      literalTensor(
        extents,
        dtype,
        ranks.map((rank, i) => (0.5 + (1.5 * (rank + 0.5)) / size) * (negative[i] ? -1 : 1)),
      ),
    );
  });

/**
 * The tensors of an arbitrary with elements moved away from the points where a function has no derivative.
 *
 * @param kinks further apart than `2 * gap`.
 * @param gap how far away, 1/64 by default: much more than a finite difference steps.
 */
export const awayFromKinks = <D extends DType>(
  tensors: fc.Arbitrary<Tensor<D>>,
  kinks: readonly number[],
  gap = 1 / 64,
): fc.Arbitrary<Tensor<D>> =>
  tensors.map((x) =>
    mapLiteral(x, (value) => {
      const kink = kinks.find((k) => Math.abs(value - k) < gap);
      return kink === undefined ? value : value < kink ? kink - gap : kink + gap;
    }),
  );

export interface IndicesConstraints {
  readonly shape: AnyShape;
  /** Indices are `0..size - 1`. */
  readonly size: number;
  /** Also a little below 0 and above `size - 1`. */
  readonly outOfRange?: boolean;
}

/** Integer tensors of valid indices, for `gather` and its kin. */
export const indices = ({ shape, size, outOfRange = false }: IndicesConstraints): fc.Arbitrary<Tensor<"i32">> =>
  tensorOf({ shape, dtype: "i32", min: outOfRange ? -2 : 0, max: outOfRange ? size + 1 : size - 1 });

type AxisView = "whole" | "everySecond" | "reversed" | "repeated";

/** A shape seen in another: axis `order[i]` of the shape is axis `i` of the base, seen as `views[order[i]]` says. */
interface Seen {
  readonly shape: Shape;
  readonly order: readonly number[];
  readonly views: readonly AxisView[];
}

/** `tensorOf` whose tensors are views of others: axes permuted, reversed, repeated, or every second element taken. */
export const stridedView = <D extends DType = "f32">(constraints: TensorConstraints<D>): fc.Arbitrary<Tensor<D>> => {
  const dtype = constraints.dtype ?? ("f32" as D);
  return filled(seenOf(constraints.shape), baseOf, elementOf(dtype, constraints)).map(({ structure, values }) =>
    viewOf(literalTensor(baseOf(structure), dtype, values), structure),
  );
};

/** Drawn for any number of axes at once, so that a view stays what it is when its shape shrinks. */
const seenOf = (shape: AnyShape): fc.Arbitrary<Seen> =>
  fc
    .record({
      shape: shapeOf(shape),
      ranks: fc.array(fc.nat(), fixedLength(drawnAxes)),
      kinds: fc.array(
        fc.constantFrom<AxisView>("whole", "everySecond", "reversed", "repeated"),
        fixedLength(drawnAxes),
      ),
    })
    .map(({ shape, ranks, kinds }) => ({
      shape,
      order: orderOf(shape.map((_, axis) => ranks[axis % drawnAxes])),
      views: shape.map((_, axis) => kinds[axis % drawnAxes]),
    }));

const drawnAxes = 8;

const baseOf = ({ shape, order, views }: Seen): number[] =>
  order.map((axis) => {
    const n = shape[axis];
    return { whole: n, everySecond: 2 * n, reversed: n, repeated: 1 }[views[axis]];
  });

function viewOf<D extends DType>(x: Tensor<D>, { shape, order, views }: Seen): Tensor<D> {
  const axes = shape.map((_, axis) => order.indexOf(axis));
  const steps = { whole: null, everySecond: 2, reversed: -1, repeated: null } satisfies {
    [V in AxisView]: number | null;
  };
  const slices = views.map((view): SliceRange => [null, null, steps[view]]);
  return viewOfLiteral(x, {
    of: (y) =>
      y
        .permute(axes)
        .slice(...slices)
        .broadcastTo(shape),
    code: `.permute([${axes}]).slice(${slices.map((s) => JSON.stringify(s)).join(", ")}).broadcastTo([${shape}])`,
  });
}
