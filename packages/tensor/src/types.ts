import { ConfigError, DTypeError } from "./errors.ts";
import { roundToHalf } from "./half.ts";

/**
 * Element types. `bool` is stored as one byte on the host and as 0 or 1 in 32 bits on devices. `f16` is stored in 16 bits on `webgpu`, where the
 * adapter has it, and is computed with in 32; on the host each f16 is an f32 that holds it exactly.
 */
export type DType = "f16" | "f32" | "f64" | "i32" | "u32" | "bool";

export type FloatDType = "f16" | "f32" | "f64";

/** Where a tensor lives and its operations run. */
export type DeviceName = "cpu" | "wasm" | "webgpu";

export type Shape = readonly number[];

export interface TypedArrayOf {
  f16: Float32Array;
  f32: Float32Array;
  f64: Float64Array;
  i32: Int32Array;
  u32: Uint32Array;
  bool: Uint8Array;
}

/** The host array that `data()` returns for a dtype. */
export type TypedArray<D extends DType = DType> = TypedArrayOf[D];

const arrays = {
  f16: Float32Array,
  f32: Float32Array,
  f64: Float64Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array,
} satisfies { [D in DType]: new (size: number) => TypedArray };

/** @throws {DTypeError} unless `dtype` is one. */
export function checkDType<D extends DType>(op: string, dtype: D): D {
  if (Object.hasOwn(arrays, dtype)) return dtype;
  throw new DTypeError(`${op}: unknown dtype ${JSON.stringify(dtype)}; dtypes are ${Object.keys(arrays).join(", ")}`);
}

const deviceNames: readonly string[] = ["cpu", "wasm", "webgpu"] satisfies readonly DeviceName[];

/** @throws {ConfigError} unless `device` is one. */
export function checkDevice(op: string, device: DeviceName): DeviceName {
  if (deviceNames.includes(device)) return device;
  throw new ConfigError(`${op}: unknown device ${JSON.stringify(device)}; devices are ${deviceNames.join(", ")}`);
}

/** A zeroed host array of `size` elements. */
export const hostArray = <D extends DType>(dtype: D, size: number): TypedArray<D> =>
  new arrays[dtype](size) as TypedArray<D>;

/** Copies numbers into a host array of a dtype, converting as JavaScript's typed arrays do; for bool, all but 0 is true. */
export function hostArrayFrom<D extends DType>(dtype: D, values: ArrayLike<number>): TypedArray<D> {
  if (dtype === "f16") return Float32Array.from(values, roundToHalf) as TypedArray<D>;
  if (dtype !== "bool") return arrays[dtype].from(values as ArrayLike<number>) as TypedArray<D>;
  const bools = hostArray("bool", values.length);
  for (let i = 0; i < bools.length; i++) bools[i] = Number(values[i] !== 0);
  return bools as TypedArray<D>;
}

/** Bytes one element takes on a device. */
export const deviceBytes = (dtype: DType): number => (dtype === "f64" ? 8 : dtype === "f16" ? 2 : 4);

export const isFloat = (dtype: DType): dtype is FloatDType => dtype === "f16" || dtype === "f32" || dtype === "f64";
export const isInteger = (dtype: DType): dtype is "i32" | "u32" => dtype === "i32" || dtype === "u32";

const lacks: { readonly [N in DeviceName]?: DType } = { wasm: "f16", webgpu: "f64" };

/** Whether a device can compute with a dtype; `f16` needs an adapter of `webgpu` that has it, too. */
export const supports = (device: DeviceName, dtype: DType): boolean => lacks[device] !== dtype;
