import type { Suite } from "../runner/suite.ts";
import { elementwise, softmax } from "./elementwise.ts";
import { groupedMatmul } from "./groupedMatmul.ts";
import { ledger } from "./ledger.ts";
import { matmul } from "./matmul.ts";
import { memory } from "./memory.ts";
import { moe } from "./moe.ts";
import { overhead } from "./overhead.ts";
import { scaling } from "./scaling.ts";
import { size } from "./size.ts";
import { startup } from "./startup.ts";
import { step } from "./step.ts";
import { webgpu } from "./webgpu.ts";

/** Every suite, in the order in which they run. */
export const suites: { readonly [name: string]: Suite } = {
  matmul,
  elementwise,
  softmax,
  groupedMatmul,
  moe,
  scaling,
  step,
  overhead,
  memory,
  startup,
  size,
  ledger,
  webgpu,
};
