import { reshape, type Tensor } from "@switchyard/tensor";
import { apply, type Attrs } from "@switchyard/tensor/graph";
import type { VjpRule } from "./rule.ts";

/** The gradients of views: each view's transpose, which is a view again but for the sum over what `expand` repeats. */
export const views = {
  reshape: (ct, _, [x]) => [ct.reshape(x.shape)],
  permute: (ct, { attrs }) => [ct.permute(inverse(attrs.axes))],
  expand: (ct, { attrs }, [x]) => {
    const stretched = attrs.shape.flatMap((n, axis) => (n === x.shape[axis] ? [] : [axis]));
    return [ct.sum(stretched).reshape(x.shape)];
  },
  pad: (ct, { attrs: { low, interior } }, [x]) => [
    apply("slice", [ct], { starts: low, sizes: x.shape, steps: interior.map((gap) => gap + 1) }),
  ],
  slice: (ct, { attrs }, [x]) => [unslice(ct, attrs, x)],
  concat: (ct, { attrs: { axis } }, inputs) => {
    let end = 0;
    return inputs.map((x) => {
      const start = end;
      end += x.shape[axis];
      const starts = x.shape.map((_, i) => (i === axis ? start : 0));
      return () => apply("slice", [ct], { starts, sizes: x.shape, steps: x.shape.map(() => 1) });
    });
  },
} satisfies { [P in "reshape" | "permute" | "expand" | "pad" | "slice" | "concat"]: VjpRule<P> };

/** `inverse(axes)[axes[i]] = i`. */
function inverse(axes: readonly number[]): number[] {
  const back = new Array<number>(axes.length);
  axes.forEach((axis, i) => (back[axis] = i));
  return back;
}

/** The transpose of a slice: each element back in its place among zeros. */
function unslice(ct: Tensor, { starts, sizes, steps }: Attrs["slice"], x: Tensor): Tensor {
  const forwards = ct.flip(steps.flatMap((step, axis) => (step < 0 ? [axis] : [])));
  const low: number[] = [];
  const high: number[] = [];
  const interior: number[] = [];
  for (const [axis, extent] of x.shape.entries()) {
    const last = starts[axis] + (sizes[axis] - 1) * steps[axis];
    const empty = sizes[axis] === 0;
    low.push(empty ? extent : Math.min(starts[axis], last));
    high.push(empty ? 0 : extent - 1 - Math.max(starts[axis], last));
    interior.push(empty ? 0 : Math.abs(steps[axis]) - 1);
  }
  return apply("pad", [forwards], { low, high, interior });
}

/** `x` with some axes moved to the end and joined there into one: `[...kept, n]`. */
export function rowsOver(x: Tensor, axes: readonly number[]): Tensor {
  const kept = [...x.shape.keys()].filter((axis) => !axes.includes(axis));
  const extent = axes.reduce((n, axis) => n * x.shape[axis], 1);
  return reshape(x.permute([...kept, ...axes]), [...kept.map((axis) => x.shape[axis]), extent]);
}

/** Undoes `rowsOver(like, axes)`. */
export function fromRows(rows: Tensor, axes: readonly number[], like: Tensor): Tensor {
  const kept = [...like.shape.keys()].filter((axis) => !axes.includes(axis));
  const order = [...kept, ...axes];
  return reshape(
    rows,
    order.map((axis) => like.shape[axis]),
  ).permute(inverse(order));
}
