import { internal } from "../../../errors.ts";
import type { LoopKernel } from "../../../schedule/plan.ts";
import type { EmitOptions } from "../assembler.ts";
import type { Lowered } from "../launch.ts";

export function lowerLoop(_kernel: LoopKernel, _options: EmitOptions): Lowered {
  throw internal("not written yet");
}
