// What packages built on the graph need: autograd, and tools that read what was written. Not for programs.
export { apply, checkFloat, fullLike, iotaLike } from "./apply.ts";
export { makeNode, topologicalOrder, type AnyNode, type Node, opName } from "./node.ts";
export type { Backward } from "./primitives/identities.ts";
export type { Attrs, PrimitiveName } from "./primitives/index.ts";
export { currentProvenance, withProvenance, type Provenance } from "./provenance.ts";
export { leafStorage, nodeInputs, valueNode } from "./runtime/leaves.ts";
export { repeating } from "./runtime/debug.ts";
export { scalarOps, type ScalarOp } from "./scalar.ts";
export { internal } from "./errors.ts";
export { describe, normalizeAxis, sameShape, sizeOf } from "./shape.ts";
export { fromNode, isTensor } from "./tensor.ts";
export {
  aFunction,
  anObject,
  checkOptions,
  finiteNumber,
  flag,
  fraction,
  inWords,
  nonNegative,
  oneOf,
  positiveInteger,
  positiveNumber,
  wholeNumber,
  requireOptions,
  type Rule,
  type Rules,
} from "./options.ts";
export { tensorLike } from "./creation.ts";
export { tensorsIn } from "./realizeTree.ts";
export { floatOfHalf, halfOfFloat } from "./half.ts";
export { isFloat } from "./types.ts";
export { defaultFloat, withDefaults, type Defaults } from "./runtime/defaults.ts";
export { backendOf } from "./runtime/devices.ts";
export { collection, ledgerOf } from "./runtime/memory.ts";
export type { Owner } from "./runtime/storage.ts";
