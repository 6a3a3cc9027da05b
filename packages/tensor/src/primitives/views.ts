import { DTypeError, ShapeError } from "../errors.ts";
import { checkShape, describe, sizeOf, stridesOf } from "../shape.ts";
import type { Shape } from "../types.ts";
import { copyFirst, plainKey, type HostArray, type Primitive, type Spec } from "./primitive.ts";

export interface ReshapeAttrs {
  readonly shape: Shape;
}

/** The same elements in row-major order under another shape. */
export const reshape: Primitive<ReshapeAttrs> = {
  infer: ([x], { shape }) => {
    checkShape("reshape", shape);
    if (sizeOf(shape) !== sizeOf(x.shape)) {
      throw new ShapeError(
        `reshape: [${shape}] has ${sizeOf(shape)} elements but ${describe(x)} has ${sizeOf(x.shape)}`,
      );
    }
    return { shape, dtype: x.dtype };
  },
  reference: copyFirst,
  key: plainKey,
};

export interface PermuteAttrs {
  /** Axis `i` of the result is axis `axes[i]` of the input. */
  readonly axes: readonly number[];
}

/** Axes in another order. */
export const permute: Primitive<PermuteAttrs> = {
  infer: ([x], { axes }) => {
    const ordered = axes.toSorted((a, b) => a - b);
    if (axes.length !== x.shape.length || ordered.some((axis, i) => axis !== i)) {
      throw new ShapeError(`permute: [${axes}] is not a permutation of the axes of ${describe(x)}`);
    }
    return { shape: axes.map((axis) => x.shape[axis]), dtype: x.dtype };
  },
  reference: (out, [x], { axes }) => {
    const strides = stridesOf(x.shape);
    copyStrided(
      out,
      x,
      0,
      axes.map((axis) => strides[axis]),
    );
  },
  key: plainKey,
};

export interface ExpandAttrs {
  readonly shape: Shape;
}

/** Repeats axes of extent 1. The number of axes stays. */
export const expand: Primitive<ExpandAttrs> = {
  infer: ([x], { shape }) => {
    checkShape("expand", shape);
    if (shape.length !== x.shape.length || shape.some((n, i) => x.shape[i] !== n && x.shape[i] !== 1)) {
      throw new ShapeError(`expand: only axes of extent 1 stretch (got ${describe(x)} to [${shape}])`);
    }
    return { shape, dtype: x.dtype };
  },
  reference: (out, [x]) => {
    const strides = stridesOf(x.shape);
    copyStrided(
      out,
      x,
      0,
      strides.map((stride, i) => (x.shape[i] === 1 ? 0 : stride)),
    );
  },
  key: plainKey,
};

export interface SliceAttrs {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  /** Never zero; negative steps walk backwards from `starts`. */
  readonly steps: readonly number[];
}

/** Element `i` along an axis is element `start + i * step` of the input. The number of axes stays. */
export const slice: Primitive<SliceAttrs> = {
  infer: ([x], { starts, sizes, steps }) => {
    checkShape("slice", sizes);
    for (let i = 0; i < x.shape.length; i++) {
      const last = starts[i] + (sizes[i] - 1) * steps[i];
      const inside = sizes[i] === 0 || (starts[i] >= 0 && starts[i] < x.shape[i] && last >= 0 && last < x.shape[i]);
      if (!inside || steps[i] === 0) {
        throw new ShapeError(
          `slice: start ${starts[i]}, size ${sizes[i]}, step ${steps[i]} leaves axis ${i} of ${describe(x)}`,
        );
      }
    }
    return { shape: sizes, dtype: x.dtype };
  },
  reference: (out, [x], { starts, steps }) => {
    const strides = stridesOf(x.shape);
    const offset = starts.reduce((sum, start, i) => sum + start * strides[i], 0);
    copyStrided(
      out,
      x,
      offset,
      strides.map((stride, i) => stride * steps[i]),
    );
  },
  key: plainKey,
};

export interface PadAttrs {
  readonly low: readonly number[];
  readonly high: readonly number[];
  /** Zeros between neighbours, so that `pad` is the transpose of a `slice` with steps. */
  readonly interior: readonly number[];
}

/** Zeros before, between and after the elements of each axis. */
export const pad: Primitive<PadAttrs> = {
  infer: ([x], { low, high, interior }) => {
    if ([...low, ...high, ...interior].some((n) => !Number.isInteger(n) || n < 0)) {
      throw new ShapeError(
        `pad: widths are non-negative integers, got low [${low}], high [${high}], interior [${interior}]`,
      );
    }
    const shape = x.shape.map((n, i) => low[i] + high[i] + n + Math.max(n - 1, 0) * interior[i]);
    return { shape, dtype: x.dtype };
  },
  reference: (out, [x], { low, interior }) => {
    const strides = stridesOf(out.shape);
    forEachIndex(x.shape, (index, i) => {
      let at = 0;
      for (let axis = 0; axis < index.length; axis++)
        at += (low[axis] + index[axis] * (interior[axis] + 1)) * strides[axis];
      out.data[at] = x.data[i];
    });
  },
  key: plainKey,
};

export interface ConcatAttrs {
  readonly axis: number;
}

/** Joins tensors along an axis. */
export const concat: Primitive<ConcatAttrs> = {
  infer: (inputs, { axis }) => {
    const [first] = inputs;
    const fits = (x: Spec): boolean =>
      x.shape.length === first.shape.length && x.shape.every((n, i) => i === axis || n === first.shape[i]);
    const got = inputs.map(describe).join(", ");
    if (inputs.some((x) => x.dtype !== first.dtype))
      throw new DTypeError(`concat: dtypes differ (got ${got}); cast one of them`);
    if (!inputs.every(fits)) throw new ShapeError(`concat: inputs must agree but for axis ${axis} (got ${got})`);
    const extent = inputs.reduce((sum, x) => sum + x.shape[axis], 0);
    return { shape: first.shape.with(axis, extent), dtype: first.dtype };
  },
  reference: (out, inputs, { axis }) => {
    const inner = sizeOf(out.shape.slice(axis + 1));
    const outer = sizeOf(out.shape.slice(0, axis));
    let at = 0;
    for (let o = 0; o < outer; o++) {
      for (const x of inputs) {
        const run = x.shape[axis] * inner;
        for (let i = 0; i < run; i++) out.data[at++] = x.data[o * run + i];
      }
    }
  },
  key: plainKey,
};

/** Calls `visit(index, position)` for each element in row-major order; `index` is reused. */
function forEachIndex(shape: Shape, visit: (index: readonly number[], position: number) => void): void {
  const size = sizeOf(shape);
  const index = new Array<number>(shape.length).fill(0);
  for (let position = 0; position < size; position++) {
    visit(index, position);
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
}

function copyStrided(out: HostArray, x: HostArray, offset: number, strides: readonly number[]): void {
  forEachIndex(out.shape, (index, position) => {
    let at = offset;
    for (let axis = 0; axis < index.length; axis++) at += index[axis] * strides[axis];
    out.data[position] = x.data[at];
  });
}
