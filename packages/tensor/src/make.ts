import { leafOf, type TensorData, type TensorOptions } from "./creation.ts";
import { checkNumber, fullLike } from "./apply.ts";
import { ShapeError } from "./errors.ts";
import { makeNode } from "./node.ts";
import { checkOptions, type Rule, type Rules } from "./options.ts";
import { leafStorage } from "./runtime/leaves.ts";
import { defaultFloat } from "./runtime/defaults.ts";
import { defaultDevice } from "./runtime/devices.ts";
import { checkShape } from "./shape.ts";
import { Tensor } from "./tensor.ts";
import {
  checkDevice,
  checkDType,
  type DeviceName,
  type DType,
  type Shape,
  type TypedArray,
  type TypedArrayOf,
} from "./types.ts";

/** The dtype that a typed array has of itself; an f16 must be asked for. */
type DTypeOfArray<A> = {
  [D in Exclude<DType, "f16">]: A extends TypedArrayOf[D] ? D : never;
}[Exclude<DType, "f16">];
type Booleans = boolean | readonly Booleans[];
type DTypeOfData<T> = T extends TypedArray
  ? DTypeOfArray<T>
  : T extends readonly never[]
    ? "f32"
    : T extends Booleans
      ? "bool"
      : "f32";

/**
 * A tensor from numbers, nested arrays, a typed array or booleans.
 *
 * @param options `dtype`: numbers become f32 unless it says otherwise. `shape`: for flat data.
 * @throws {ShapeError} if nested arrays are ragged or the shape does not fit the data.
 */
export function tensor<T extends TensorData, D extends DType = DTypeOfData<T>>(
  data: T,
  options: TensorOptions<D> = {},
): Tensor<D> {
  checkOptions("tensor", options, tensorRules);
  const node = leafOf(data, options, options.device ?? defaultDevice());
  return new Tensor<D>(node, leafStorage(node));
}

export interface MakeOptions<D extends DType = DType> {
  readonly dtype?: D;
  readonly device?: DeviceName;
}

/** Of the right kind or not is told where it is used. */
const anything: Rule = { must: "given", holds: () => true };
const makeRules: Rules<MakeOptions> = { dtype: anything, device: anything };
const tensorRules: Rules<TensorOptions> = { ...makeRules, shape: anything };

const deviceFor = (op: string, device: DeviceName | undefined): DeviceName =>
  device === undefined ? defaultDevice() : checkDevice(op, device);

/** One number everywhere; f32 unless `dtype` says otherwise. */
export const full = <D extends DType = "f32">(shape: Shape, value: number, options?: MakeOptions<D>): Tensor<D> =>
  filled("full", shape, value, options);
export const zeros = <D extends DType = "f32">(shape: Shape, options?: MakeOptions<D>): Tensor<D> =>
  filled("zeros", shape, 0, options);
export const ones = <D extends DType = "f32">(shape: Shape, options?: MakeOptions<D>): Tensor<D> =>
  filled("ones", shape, 1, options);

function filled<D extends DType>(op: string, shape: Shape, value: number, options: MakeOptions<D> = {}): Tensor<D> {
  checkOptions(op, options, makeRules);
  const { dtype, device } = options;
  const type = checkDType(op, dtype ?? defaultFloat());
  if (type !== "bool") checkNumber(op, value, type); // any number but 0 is true
  return new Tensor<D>(makeNode("full", [], { shape, value, dtype: type }, deviceFor(op, device)));
}

export const zerosLike = <D extends DType>(x: Tensor<D>): Tensor<D> => fullLike(x, 0, x.shape, x.dtype);
export const onesLike = <D extends DType>(x: Tensor<D>): Tensor<D> => fullLike(x, 1, x.shape, x.dtype);

function iota<D extends DType>(shape: Shape, axis: number, dtype: D, device?: DeviceName): Tensor<D> {
  return new Tensor<D>(makeNode("iota", [], { shape, axis, dtype }, deviceFor("iota", device)));
}

/** `start, start + step, …` up to but without `stop`; `arange(n)` counts from 0. i32 if all are integers, else f32. */
export function arange<D extends DType = DType>(
  start: number,
  stop?: number,
  step = 1,
  options: MakeOptions<D> = {},
): Tensor<D> {
  checkOptions("arange", options, makeRules);
  const { dtype, device } = options;
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  if (step === 0) throw new ShapeError("arange: step must not be 0");
  if (![from, to, step].every(Number.isFinite))
    throw new ShapeError(`arange: start, stop and step must be finite, got ${from}, ${to}, ${step}`);
  const type = dtype ?? ([from, to, step].every(Number.isInteger) ? "i32" : defaultFloat());
  const count = iota([Math.max(Math.ceil((to - from) / step), 0)], 0, type, device);
  return (from === 0 && step === 1 ? count : count.mul(step).add(from)) as Tensor<D>;
}

/** `count` numbers from `start` to `stop`, both included. */
export function linspace<D extends DType = "f32">(
  start: number,
  stop: number,
  count: number,
  options: MakeOptions<D> = {},
): Tensor<D> {
  checkOptions("linspace", options, makeRules);
  const { dtype, device } = options;
  if (!Number.isInteger(count) || count < 1)
    throw new ShapeError(`linspace: count must be a positive integer, got ${count}`);
  const steps = iota([count], 0, dtype ?? defaultFloat(), device);
  return (count === 1 ? steps.add(start) : steps.mul((stop - start) / (count - 1)).add(start)) as Tensor<D>;
}

/** The identity matrix. */
export function eye<D extends DType = "f32">(n: number, options: MakeOptions<D> = {}): Tensor<D> {
  checkOptions("eye", options, makeRules);
  const { dtype, device } = options;
  checkShape("eye", [n]);
  return iota([n, n], 0, "i32", device)
    .eq(iota([n, n], 1, "i32", device))
    .cast(dtype ?? defaultFloat()) as Tensor<D>;
}
