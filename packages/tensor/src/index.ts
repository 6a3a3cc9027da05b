export {
  ConfigError,
  DeviceError,
  DisposedError,
  DTypeError,
  FormatError,
  GradientError,
  ShapeError,
  SwitchyardError,
} from "./errors.ts";
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
export { profile, type KernelProfile } from "./runtime/profile.ts";
export { ceilings, shareOfCeiling, totalOf, type Ceilings, type Work } from "./ceilings.ts";
export { graphOf, type Graph } from "./listing.ts";
export { scope } from "./provenance.ts";
export { assign, type AssignOptions } from "./functions/assign.ts";
export { attention, type AttentionOptions } from "./functions/attention.ts";
export { call } from "./functions/call.ts";
export { bincount, oneHot } from "./functions/counting.ts"; // ahead of those of segments.ts, which take tensors only
export { dropout } from "./functions/dropout.ts";
export { einsum } from "./functions/einsum.ts";
export * from "./functions/elementwise.ts";
export {
  argsort,
  gather,
  scatter,
  scatterAdd,
  sort,
  take,
  takeAlongAxis,
  topK,
  type GatherOptions,
  type Index,
  type ScatterOptions,
  type SortOptions,
} from "./functions/indexing.ts";
export * from "./functions/linear.ts";
export * from "./functions/neural.ts";
export * as random from "./functions/random.ts";
export type { Key } from "./functions/random.ts";
export {
  all,
  any,
  argMax,
  argMin,
  cummax,
  cumprod,
  cumsum,
  logSumExp,
  max,
  mean,
  min,
  norm,
  prod,
  std,
  sum,
  variance,
  type Axis,
  type ReduceOptions,
  type ScanOptions,
  type VarianceOptions,
} from "./functions/reductions.ts";
export * from "./functions/segments.ts";
export * from "./functions/tags.ts";
export * from "./functions/views.ts";
export { version } from "./version.ts";
