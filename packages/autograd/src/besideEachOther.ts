import { concat, type Tensor } from "@switchyard/tensor";
import { apply, fromNode, sameShape } from "@switchyard/tensor/graph";

/** A tensor among zeros along one axis, as the gradient of a slice is. */
interface Padded {
  readonly inner: Tensor;
  readonly axis: number;
  /** Where along the axis it begins and ends. */
  readonly from: number;
  readonly until: number;
}

/**
 * The sum of two tensors that are zero but for neighbouring parts of one axis: the parts beside each other, for which nothing need be added.
 * So the gradient of what was split is put together once. Undefined for any other two.
 */
export function besideEachOther(a: Tensor, b: Tensor): Tensor | undefined {
  const [x, y] = [paddedOf(a), paddedOf(b)];
  if (!x || !y || x.axis !== y.axis || !sameShape(a.shape, b.shape)) return undefined;
  if (x.until !== y.from && y.until !== x.from) return undefined;
  const [first, second] = x.until === y.from ? [x, y] : [y, x];
  const inner = concat([...partsOf(first), ...partsOf(second)], x.axis);
  return among(inner, { ...x, inner, from: first.from, until: second.until }, a.shape);
}

/** So many parts become one `concat`. With no limit, n parts that come one by one would take n² / 2 steps to write down. */
const mostParts = 64;

/** What was put beside each other before, or the tensor itself. */
function partsOf({ inner, axis }: Padded): readonly Tensor[] {
  const { node } = inner;
  const isOpen = node.op === "concat" && node.attrs.axis === axis && node.inputs.length < mostParts;
  return isOpen ? node.inputs.map(fromNode) : [inner];
}

/** What a `pad` along one axis pads, and where it put it. */
function paddedOf({ node }: Tensor): Padded | undefined {
  if (node.op !== "pad") return undefined;
  const { low, high, interior } = node.attrs;
  const axes = [...low.keys()].filter((axis) => low[axis] > 0 || high[axis] > 0);
  if (axes.length !== 1 || interior.some((gap) => gap > 0)) return undefined;
  const [axis] = axes;
  return { inner: fromNode(node.inputs[0]), axis, from: low[axis], until: node.shape[axis] - high[axis] };
}

/** The inner tensor among zeros again, if any are left. */
function among(inner: Tensor, { axis, from, until }: Padded, shape: readonly number[]): Tensor {
  if (until - from === shape[axis]) return inner;
  const widths = (width: number): number[] => shape.map((_, i) => (i === axis ? width : 0));
  return apply("pad", [inner], { low: widths(from), high: widths(shape[axis] - until), interior: widths(0) });
}
