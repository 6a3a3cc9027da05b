import { DTypeError } from "./errors.ts";
import { makeNode, opName, type AnyNode } from "./node.ts";
import { inWords } from "./options.ts";
import type { Attrs, PrimitiveName } from "./primitives/index.ts";
import { describe } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { isFloat, type DType, type Shape } from "./types.ts";

/** A tensor made by a primitive from others. The first input's handle class makes the new handle, so functions need not import it. */
export function apply<P extends PrimitiveName, D extends DType = DType>(
  op: P,
  inputs: readonly [Tensor, ...Tensor[]],
  attrs: Attrs[P],
): Tensor<D> {
  const [first] = inputs;
  // Each copy of the library has a class of its own.
  if (typeof first?.expectTensor !== "function" || inputs.some((x) => x?.constructor !== first.constructor))
    refuse(opName({ op, attrs } as AnyNode), inputs);
  return first.derive(
    makeNode(
      op,
      inputs.map((t) => t.node),
      attrs,
    ),
  ) as Tensor<D>;
}

/** Tells which of the inputs is no tensor, or none of this copy of the library. */
function refuse(op: string, inputs: readonly [Tensor, ...Tensor[]]): void {
  for (const x of inputs)
    if (typeof x?.expectTensor !== "function") throw new DTypeError(`${op}: takes tensors, got ${inWords(x)}`);
  inputs[0].expectTensor(op, inputs);
}

/** One number everywhere, on the device of `like`. The number is data: changing it recompiles nothing. */
export const fullLike = <D extends DType>(like: Tensor, value: number, shape: Shape, dtype: D): Tensor<D> =>
  like.derive(makeNode("full", [], { shape, dtype, value }, like.device)) as Tensor<D>;

/** Each element's coordinate along an axis, on the device of `like`. */
export const iotaLike = <D extends DType>(like: Tensor, shape: Shape, axis: number, dtype: D): Tensor<D> =>
  like.derive(makeNode("iota", [], { shape, axis, dtype }, like.device)) as Tensor<D>;

/** @throws {DTypeError} unless `x` is floating-point. */
export function checkFloat(op: string, x: Tensor): void {
  if (!isFloat(x.dtype))
    throw new DTypeError(
      `${op}: takes floating-point tensors; cast first, for example .cast("f32") (got ${describe(x)})`,
    );
}

const integers = { i32: [-0x80000000, 0x7fffffff], u32: [0, 0xffffffff], bool: [0, 1] } as const;

/** Whether a dtype holds a number; floats hold any, rounded. */
export function isValueOf(dtype: DType, value: number): boolean {
  if (isFloat(dtype)) return true;
  const [low, high] = integers[dtype];
  return Number.isInteger(value) && value >= low && value <= high;
}

/** A number must be exact in an integer tensor's dtype: nothing is rounded silently. */
export function checkNumber(op: string, value: number, dtype: DType): number {
  if (typeof value !== "number") throw new DTypeError(`${op}: takes a number, got ${JSON.stringify(value)}`);
  if (isValueOf(dtype, value)) return value;
  throw new DTypeError(`${op}: ${value} is not a value of ${dtype}; cast the tensor first, for example .cast("f32")`);
}
