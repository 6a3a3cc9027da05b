import { isValueOf } from "./apply.ts";
import { DTypeError, ShapeError } from "./errors.ts";
import { checkShape, sameShape, sizeOf } from "./shape.ts";
import { defaultFloat } from "./runtime/defaults.ts";
import { hostLeaf } from "./runtime/realize.ts";
import type { Tensor } from "./tensor.ts";
import {
  checkDevice,
  checkDType,
  hostArrayFrom,
  isInteger,
  type DeviceName,
  type DType,
  type Shape,
  type TypedArray,
} from "./types.ts";
import type { AnyNode } from "./node.ts";

/** Typed arrays of numbers that no dtype has of its own: they need to be told one. */
type OtherTypedArray = Int8Array | Int16Array | Uint16Array | Uint8ClampedArray;

/** What `tensor` accepts: a number or boolean, nested arrays of them, or a typed array. */
export type TensorData = number | boolean | TypedArray | OtherTypedArray | readonly TensorData[];

export interface TensorOptions<D extends DType = DType> {
  readonly shape?: Shape;
  readonly dtype?: D;
  readonly device?: DeviceName;
}

/** A leaf holding `data`. Numbers become the default float and booleans bool unless the options say otherwise; typed arrays keep their type. */
export function leafOf(data: TensorData, { shape, dtype }: TensorOptions, device: DeviceName): AnyNode {
  const { flat, nested, kind } = flatten(data, dtype);
  const wanted = shape ?? nested;
  checkShape("tensor", wanted);
  if (sizeOf(wanted) !== flat.length) {
    throw new ShapeError(`tensor: shape [${wanted}] has ${sizeOf(wanted)} elements but the data has ${flat.length}`);
  }
  const type = checkDType("tensor", dtype ?? kind);
  if (isInteger(type) && !(ArrayBuffer.isView(data) && dtypeOfArray(data) === type)) checkIntegers(flat, type);
  return hostLeaf(checkDevice("tensor", device), wanted, hostArrayFrom(type, flat), type, "tensor");
}

/** A constant on the device of another tensor. */
export const tensorLike = <D extends DType>(like: Tensor, data: TensorData, dtype: D): Tensor<D> =>
  like.derive(leafOf(data, { dtype }, like.device)) as Tensor<D>;

function flatten(data: TensorData, dtype: DType | undefined): { flat: ArrayLike<number>; nested: Shape; kind: DType } {
  if (ArrayBuffer.isView(data)) {
    if (typeof (data as ArrayLike<unknown>)[0] === "bigint" || data instanceof DataView)
      throw new DTypeError(`tensor: elements are numbers, got a ${data.constructor.name}`);
    return { flat: data, nested: [data.length], kind: dtype ?? typedKind(data) };
  }
  if (!Array.isArray(data)) return { flat: [Number(checkElement(data))], nested: [], kind: kindOf(data) };
  const flat: number[] = [];
  let kind: DType | undefined;
  const shapeOf = (x: TensorData): Shape => {
    if (Array.isArray(x)) {
      const shapes = x.map(shapeOf);
      const odd = shapes.find((s) => !sameShape(s, shapes[0]));
      if (odd) throw new ShapeError(`tensor: nested arrays must be rectangular, got [${shapes[0]}] beside [${odd}]`);
      return [x.length, ...(shapes[0] ?? [])];
    }
    const type = kindOf(checkElement(x));
    if (kind !== undefined && kind !== type)
      throw new DTypeError("tensor: numbers and booleans are mixed; use one kind");
    kind = type;
    flat.push(Number(x));
    return [];
  };
  return { nested: shapeOf(data), flat, kind: kind ?? defaultFloat() };
}

/** Nothing is rounded or wrapped silently. */
function checkIntegers(flat: ArrayLike<number>, dtype: "i32" | "u32"): void {
  for (let i = 0; i < flat.length; i++)
    if (!isValueOf(dtype, flat[i]))
      throw new DTypeError(
        `tensor: ${flat[i]} is not a value of ${dtype}; .cast("${dtype}") a float tensor to truncate and saturate`,
      );
}

function checkElement(x: unknown): unknown {
  if (typeof x === "number" || typeof x === "boolean") return x;
  throw new DTypeError(
    `tensor: elements are numbers or booleans, got ${typeof x === "bigint" ? `${x}n` : JSON.stringify(x)}; pass a number, nested arrays or a typed array`,
  );
}

const kindOf = (x: unknown): DType => (typeof x === "boolean" ? "bool" : defaultFloat());

/** The dtype that a typed array stands for, if it stands for one. */
function dtypeOfArray(data: TypedArray | OtherTypedArray): DType | undefined {
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Float64Array) return "f64";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof Uint32Array) return "u32";
  return data instanceof Uint8Array ? "bool" : undefined;
}

/** What a typed array becomes that nobody has said more of. */
function typedKind(data: TypedArray | OtherTypedArray): DType {
  const dtype = dtypeOfArray(data);
  if (dtype === undefined)
    throw new DTypeError(
      `tensor: a ${data.constructor.name} stands for no dtype; name one, for example { dtype: "f32" }`,
    );
  const more = dtype === "bool" ? (data as Uint8Array).find((x) => x > 1) : undefined;
  if (more !== undefined)
    throw new DTypeError(
      `tensor: a Uint8Array stands for bool, 0 or 1, but ${more} is among its elements; name a dtype, for example { dtype: "f32" }`,
    );
  return dtype;
}
