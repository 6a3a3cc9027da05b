import fc from "fast-check";
import { tensor, type DeviceName, type DType, type Tensor } from "../../src/index.ts";
import { hostArrayFrom } from "../../src/types.ts";

/** A tensor in waiting: made on whichever device runs the case. */
export interface Input {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly values: readonly number[];
  /** How the primitive sees it: whole, or through a view of something larger. */
  readonly view: "plain" | "transposed" | "flipped" | "sliced";
}

const special = fc.constantFrom(NaN, Infinity, -Infinity, -0, 0, 1e30, -1e30, 1e-30);
/** Few distinct values, so that ties are common; exact in f32. */
const common = fc.integer({ min: -16, max: 16 }).map((n) => n / 4);

/** Element values by dtype. `specials` mixes in NaN, infinities and extremes. */
export function element(dtype: DType, specials = false): fc.Arbitrary<number> {
  if (dtype === "bool") return fc.nat(1);
  if (dtype === "i32")
    return fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: -9, max: 9 }) },
      fc.constantFrom(2 ** 31 - 1, -(2 ** 31)),
    );
  if (dtype === "u32") return fc.oneof({ weight: 8, arbitrary: fc.nat(9) }, fc.constantFrom(2 ** 32 - 1, 2 ** 31));
  return specials ? fc.oneof({ weight: 9, arbitrary: common }, special) : common;
}

export const extent = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 1, max: 7 }) }, fc.constantFrom(0, 1, 16, 33));

export const shapeOf = (min: number, max: number): fc.Arbitrary<number[]> =>
  fc.array(extent, { minLength: min, maxLength: max }).filter((shape) => shape.reduce((a, b) => a * b, 1) <= 2000);

const view: fc.Arbitrary<Input["view"]> = fc.constantFrom("plain", "plain", "transposed", "flipped", "sliced");

/** An input of a given shape. */
export const inputOf = (shape: readonly number[], dtype: DType, specials = false): fc.Arbitrary<Input> => {
  const size = shape.reduce((a, b) => a * b, 1);
  return fc.record({
    dtype: fc.constant(dtype),
    shape: fc.constant(shape),
    values: fc.array(element(dtype, specials), { minLength: size, maxLength: size }),
    view,
  });
};

/** Indices into an axis of `n`, some of them out of range. */
export const indexInput = (shape: readonly number[], n: number): fc.Arbitrary<Input> => {
  const size = shape.reduce((a, b) => a * b, 1);
  return fc
    .array(fc.integer({ min: -1, max: n }), { minLength: size, maxLength: size })
    .map((values) => ({ dtype: "i32", shape, values, view: "plain" }));
};

/** The input on a device, under its view. */
export function place({ dtype, shape, values, view: seen }: Input, device: DeviceName): Tensor {
  const make = (list: readonly number[], extents: readonly number[]): Tensor =>
    tensor(hostArrayFrom(dtype, list), { dtype, shape: extents, device });
  if (shape.length === 0 || seen === "plain") return make(values, shape);
  const size = values.length;
  if (seen === "flipped") return size === 0 ? make(values, shape) : make(values.toReversed(), shape).flip();
  const inner = size / Math.max(shape[0], 1) || 0;
  if (seen === "sliced" && size > 0) {
    const padding = new Array<number>(inner).fill(1);
    return make([...padding, ...values, ...padding], shape.with(0, shape[0] + 2)).slice([1, -1]);
  }
  if (shape.length < 2 || size === 0) return make(values, shape);
  const swapped = Array.from({ length: size }, (_, i) => values[(i % shape[0]) * inner + Math.floor(i / shape[0])]);
  return make(swapped, [inner, shape[0]]).transpose().reshape(shape);
}
