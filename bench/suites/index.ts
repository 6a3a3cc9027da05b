import type { Suite } from "../runner/suite.ts";
import { elementwise, softmax } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { step } from "./step.ts";

/** Every suite, in the order in which they run. */
export const suites: { readonly [name: string]: Suite } = { matmul, elementwise, softmax, step };
