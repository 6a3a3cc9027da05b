import type { Kernel, RoutineKernel, RoutineOp } from "../../schedule/plan.ts";
import { lowerArgReduce } from "./argReduce.ts";
import { lowerAssign } from "./assign.ts";
import { lowerGroupedMatmul } from "./groupedMatmul.ts";
import { lowerLoop } from "./loop.ts";
import type { Lowered, Lowering } from "./lower.ts";
import { lowerMatmul } from "./matmul.ts";
import { lowerRandomBits } from "./randomBits.ts";
import { lowerScan } from "./scan.ts";
import { lowerScatter } from "./scatter.ts";
import { lowerSort } from "./sort.ts";

type Routine<P extends RoutineOp> = (kernel: Extract<RoutineKernel, { op: P }>, lowering: Lowering) => Lowered;

const routines = {
  matmul: lowerMatmul,
  groupedMatmul: lowerGroupedMatmul,
  scan: lowerScan,
  argReduce: lowerArgReduce,
  argsort: lowerSort,
  topK: lowerSort,
  assign: lowerAssign,
  scatter: lowerScatter,
  randomBits: lowerRandomBits,
} satisfies { [P in RoutineOp]: Routine<P> };

/** The dispatches that a kernel of a plan becomes. */
export const lowerKernel = (kernel: Kernel, lowering: Lowering): Lowered =>
  kernel.kind === "loop" ? lowerLoop(kernel, lowering) : (routines[kernel.op] as Routine<RoutineOp>)(kernel, lowering);
