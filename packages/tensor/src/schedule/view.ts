import { internal } from "../errors.ts";
import type { AnyNode } from "../node.ts";
import type { PrimitiveName } from "../primitives/index.ts";
import type { ExpandAttrs, PermuteAttrs, ReshapeAttrs } from "../primitives/views.ts";
import { sameShape, sizeOf, stridesOf } from "../shape.ts";
import type { Shape } from "../types.ts";
import type { View } from "./plan.ts";
import { roles } from "./roles.ts";

/** A view with the shape of the space that indexes it. */
export interface ShapedView extends View {
  readonly shape: Shape;
}

type Bounds = readonly (readonly [number, number])[];

/** The view of a buffer that holds a tensor of this shape row-major. */
export const contiguous = (shape: Shape): ShapedView => ({ shape, offset: 0, strides: stridesOf(shape) });

/** A movement: how one shape's coordinates come from another's. Those of the graph, or one of the scheduler's own. */
export type Move =
  | AnyNode
  | { readonly op: "reshape"; readonly attrs: ReshapeAttrs }
  | { readonly op: "permute"; readonly attrs: PermuteAttrs }
  | { readonly op: "expand"; readonly attrs: ExpandAttrs };

export const isMovement = (op: PrimitiveName): boolean => roles[op] === "movement";

/** The view after a movement, or undefined if strides cannot say it. */
export function move(view: ShapedView, by: Move): ShapedView | undefined {
  switch (by.op) {
    case "reshape":
      return reshapeView(view, by.attrs.shape);
    case "permute": {
      const { axes } = by.attrs;
      const pick = <T>(list: readonly T[]): T[] => axes.map((axis) => list[axis]);
      return {
        shape: pick(view.shape),
        offset: view.offset,
        strides: pick(view.strides),
        bounds: view.bounds && pick(view.bounds),
      };
    }
    case "expand":
      return expandView(view, by.attrs.shape);
    case "slice":
      return sliceView(view, by.attrs);
    case "pad":
      return padView(view, by.attrs);
    default:
      throw internal(`${by.op} is not a movement`);
  }
}

const withBounds = (view: ShapedView, bounds: Bounds): ShapedView =>
  bounds.every(([from, to], axis) => from <= 0 && to >= view.shape[axis]) ? view : { ...view, bounds };

const boundsOf = (view: ShapedView): Bounds => view.bounds ?? view.shape.map((extent) => [0, extent] as const);

function expandView(view: ShapedView, shape: Shape): ShapedView {
  const stretched = shape.map((extent, axis) => extent !== view.shape[axis]);
  const strides = view.strides.map((stride, axis) => (stretched[axis] ? 0 : stride));
  const bounds = boundsOf(view).map(([from, to], axis): readonly [number, number] =>
    stretched[axis] ? (from <= 0 && to > 0 ? [0, shape[axis]] : [0, 0]) : [from, to],
  );
  return withBounds({ shape, offset: view.offset, strides }, bounds);
}

function sliceView(
  view: ShapedView,
  { starts, sizes, steps }: { starts: readonly number[]; sizes: Shape; steps: readonly number[] },
): ShapedView {
  const offset = starts.reduce((sum, start, axis) => sum + start * view.strides[axis], view.offset);
  const strides = view.strides.map((stride, axis) => stride * steps[axis]);
  const bounds = boundsOf(view).map(([from, to], axis): readonly [number, number] => {
    const [start, step, size] = [starts[axis], steps[axis], sizes[axis]];
    const clip = (c: number): number => Math.min(Math.max(c, 0), size);
    if (step > 0) return [clip(Math.ceil((from - start) / step)), clip(Math.ceil((to - start) / step))];
    return [clip(Math.floor((start - to) / -step) + 1), clip(Math.floor((start - from) / -step) + 1)];
  });
  return withBounds({ shape: sizes, offset, strides }, bounds);
}

function padView(
  view: ShapedView,
  { low, high, interior }: { low: readonly number[]; high: readonly number[]; interior: readonly number[] },
): ShapedView | undefined {
  if (interior.some((zeros, axis) => zeros > 0 && view.shape[axis] > 1)) return undefined;
  const shape = view.shape.map((extent, axis) => low[axis] + extent + high[axis]);
  const offset = low.reduce((sum, before, axis) => sum - before * view.strides[axis], view.offset);
  const bounds = boundsOf(view).map(([from, to], axis): readonly [number, number] => [
    from + low[axis],
    to + low[axis],
  ]);
  return withBounds({ shape, offset, strides: view.strides }, bounds);
}

/**
 * Splits both shapes into the shortest runs of axes with equal products and reshapes run by run: a run of several axes must
 * be one arithmetic progression and carry no bounds.
 */
function reshapeView(view: ShapedView, shape: Shape): ShapedView | undefined {
  if (sameShape(view.shape, shape)) return view;
  if (sizeOf(shape) === 0) return { shape, offset: view.offset, strides: stridesOf(shape) };
  const strides = new Array<number>(shape.length).fill(0);
  const bounds = shape.map((extent): readonly [number, number] => [0, extent]);
  const old = view.shape.flatMap((extent, axis) => (extent === 1 ? [] : [axis]));
  const fresh = shape.flatMap((extent, axis) => (extent === 1 ? [] : [axis]));
  const given = boundsOf(view);
  // An axis of extent 1 that bounds leave out makes the whole view empty: too rare to carry.
  if (view.shape.some((extent, axis) => extent === 1 && !(given[axis][0] <= 0 && given[axis][1] >= 1)))
    return undefined;
  for (let i = 0, j = 0; i < old.length;) {
    const from = i;
    const to = j;
    let a = view.shape[old[i++]];
    let b = shape[fresh[j++]];
    while (a !== b) {
      if (a < b) a *= view.shape[old[i++]];
      else b *= shape[fresh[j++]];
    }
    const run = old.slice(from, i);
    if (run.length === 1 && j - to === 1) {
      strides[fresh[to]] = view.strides[run[0]];
      bounds[fresh[to]] = given[run[0]];
      continue;
    }
    const last = run[run.length - 1];
    const bounded = run.some((axis) => given[axis][0] > 0 || given[axis][1] < view.shape[axis]);
    const broken = run.some((axis, n) => n > 0 && view.strides[run[n - 1]] !== view.strides[axis] * view.shape[axis]);
    if (bounded || broken) return undefined;
    for (let n = j - 1, stride = view.strides[last]; n >= to; n--) {
      strides[fresh[n]] = stride;
      stride *= shape[fresh[n]];
    }
  }
  return withBounds({ shape, offset: view.offset, strides }, bounds);
}

/** Whether a view visits its elements one after the other. Axes of extent 1 have any stride. */
export function isContiguous(view: ShapedView): boolean {
  const wanted = stridesOf(view.shape);
  return !view.bounds && view.strides.every((stride, axis) => view.shape[axis] === 1 || stride === wanted[axis]);
}

/** Whether two views of one space reach the same elements. */
export const sameView = (a: ShapedView, b: ShapedView): boolean =>
  a.offset === b.offset &&
  a.bounds === b.bounds &&
  a.strides.every((stride, axis) => a.shape[axis] === 1 || stride === b.strides[axis]);
