export { adafactor, type AdafactorOptions, type AdafactorState } from "./adafactor.ts";
export { adam, adamw, type AdamOptions, type AdamState } from "./adam.ts";
export { clipByGlobalNorm, globalNorm } from "./clip.ts";
export { lion, type LionOptions, type LionState } from "./lion.ts";
export type { Optimizer, OptimizerOptions, ParameterOptions } from "./optimizer.ts";
export {
  constant,
  cosine,
  inverseSqrt,
  linear,
  warmupCosine,
  type CosineOptions,
  type InverseSqrtOptions,
  type LinearOptions,
  type Schedule,
  type WarmupCosineOptions,
} from "./schedules.ts";
export { sgd, type SgdOptions, type SgdState } from "./sgd.ts";
