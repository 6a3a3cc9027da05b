export { call } from "./call.ts";
export { checkpoint } from "./checkpoint.ts";
export { customVjp, type CustomVjp } from "./customVjp.ts";
export { grad, valueAndGrad, type LossOf } from "./grad.ts";
export { gradParts, type GradPart, type GradPartsOptions, type PathClass } from "./gradParts.ts";
export { hessian, hvp, jacobian } from "./jacobian.ts";
export { treeFlatten, treeLeaves, treeMap, treePaths, treeUnflatten, type TreeStructure } from "./tree.ts";
export { jvp, vjp } from "./vjp.ts";
