export * from "./errors.ts";
export type { DeviceName, DType, FloatDType, Shape, TypedArray } from "./types.ts";
export { Tensor, type Nested } from "./tensor.ts";
export { arange, eye, full, linspace, ones, onesLike, tensor, zeros, zerosLike, type MakeOptions } from "./make.ts";
export type { TensorData, TensorOptions } from "./creation.ts";
export { realize, type RealizeOptions } from "./realizeTree.ts";
export {
  defaultDevice,
  devices,
  init,
  memory,
  setDefaultDevice,
  shutdown,
  type DeviceInfo,
  type InitOptions,
  type MemoryInfo,
} from "./runtime/devices.ts";
export { scope } from "./provenance.ts";
export * from "./functions/elementwise.ts";
export * from "./functions/indexing.ts";
export * from "./functions/linear.ts";
export * from "./functions/neural.ts";
export * from "./functions/random.ts";
export * from "./functions/reductions.ts";
export * from "./functions/tags.ts";
export * from "./functions/views.ts";
export { version } from "./version.ts";
