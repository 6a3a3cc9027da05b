import type { Kernel, Plan, RoutineKernel, RoutineOp } from "../../schedule/plan.ts";
import { emitOptions, type Features } from "./features.ts";
import type { Lowered } from "./launch.ts";
import { lowerLoop } from "./loops/lower.ts";
import { routines } from "./routines/index.ts";

/** Turns a kernel of a plan into launches. */
export const lower = (kernel: Kernel, plan: Plan, features: Features): Lowered =>
  kernel.kind === "loop" ? lowerLoop(kernel, emitOptions(features)) : lowerRoutine(kernel, plan, features);

function lowerRoutine(kernel: RoutineKernel, plan: Plan, features: Features): Lowered {
  const table: { readonly [P in RoutineOp]: (kernel: never, plan: Plan, features: Features) => Lowered } = routines;
  return table[kernel.op](kernel as never, plan, features);
}
