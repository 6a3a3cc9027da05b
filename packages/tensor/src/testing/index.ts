// Arbitraries for property tests with fast-check, which the user brings.
export { broadcastableShapes, permutationOf, shape, type ShapeConstraints } from "./shapes.ts";
export {
  awayFromKinks,
  indices,
  stridedView,
  tensorOf,
  wellConditioned,
  type AnyShape,
  type IndicesConstraints,
  type TensorConstraints,
  type WellConditionedConstraints,
} from "./tensors.ts";
