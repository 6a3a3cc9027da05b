import type { RoutineOp } from "../../../schedule/plan.ts";
import { argReduce } from "./argReduce.ts";
import { assign } from "./assign.ts";
import { argsort } from "./argsort.ts";
import { groupedMatmul, matmul } from "./products.ts";
import { randomBits } from "./randomBits.ts";
import type { LowerRoutine } from "./routine.ts";
import { scan } from "./scan.ts";
import { scatter } from "./scatter.ts";
import { topK } from "./topK.ts";

/** How each routine is done here. A forgotten one is a compile error. */
export const routines = {
  matmul,
  groupedMatmul,
  scan,
  argReduce,
  argsort,
  topK,
  assign,
  scatter,
  randomBits,
} satisfies { [P in RoutineOp]: LowerRoutine<P> };
