/** Element types. `bool` is stored as one byte on the host and as 0 or 1 in 32 bits on devices. */
export type DType = "f32" | "f64" | "i32" | "u32" | "bool";

export type FloatDType = "f32" | "f64";

/** Where a tensor lives and its operations run. */
export type DeviceName = "cpu" | "wasm" | "webgpu";

export type Shape = readonly number[];

export interface TypedArrayOf {
  f32: Float32Array;
  f64: Float64Array;
  i32: Int32Array;
  u32: Uint32Array;
  bool: Uint8Array;
}

/** The host array that `data()` returns for a dtype. */
export type TypedArray<D extends DType = DType> = TypedArrayOf[D];

const arrays = {
  f32: Float32Array,
  f64: Float64Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array,
} satisfies { [D in DType]: new (size: number) => TypedArray };

/** A zeroed host array of `size` elements. */
export const hostArray = <D extends DType>(dtype: D, size: number): TypedArray<D> =>
  new arrays[dtype](size) as TypedArray<D>;

/** Copies numbers into a host array of a dtype, converting as JavaScript's typed arrays do. */
export const hostArrayFrom = <D extends DType>(dtype: D, values: ArrayLike<number>): TypedArray<D> =>
  arrays[dtype].from(values as ArrayLike<number>) as TypedArray<D>;

/** Bytes one element takes on a device. */
export const deviceBytes = (dtype: DType): number => (dtype === "f64" ? 8 : 4);

export const isFloat = (dtype: DType): dtype is FloatDType => dtype === "f32" || dtype === "f64";
export const isInteger = (dtype: DType): dtype is "i32" | "u32" => dtype === "i32" || dtype === "u32";

/** Whether a device computes with a dtype. */
export const supports = (device: DeviceName, dtype: DType): boolean => device !== "webgpu" || dtype !== "f64";
