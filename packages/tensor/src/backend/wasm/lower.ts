import type { Kernel, Plan } from "../../schedule/plan.ts";
import type { Features } from "./features.ts";
import type { Lowered } from "./launch.ts";
import { lowerLoop } from "./loops/index.ts";
import { routines, type LowerRoutine } from "./routines/index.ts";

/** Turns a kernel of a plan into launches. */
export function lower(kernel: Kernel, plan: Plan, features: Features): Lowered {
  if (kernel.kind === "loop") return lowerLoop(kernel, plan, features);
  return (routines[kernel.op] as LowerRoutine<typeof kernel.op>)(kernel as never, plan, features);
}
