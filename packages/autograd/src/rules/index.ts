import type { PrimitiveName } from "@switchyard/tensor/graph";
import { gather, scatter } from "./indexing.ts";
import { groupedMatmul, matmul } from "./matmul.ts";
import { reduce } from "./reduce.ts";
import { constant, type VjpRule } from "./rule.ts";
import { map } from "./scalar.ts";
import { scan } from "./scan.ts";
import { views } from "./views.ts";

/** Passes to the value of an identity, its first input. */
const identity: VjpRule<PrimitiveName> = (ct) => [ct];

/** The gradient of every primitive. */
export const vjpRules = {
  buffer: constant,
  full: constant,
  iota: constant,
  randomBits: constant,
  map,
  ...views,
  reduce,
  argReduce: constant,
  scan,
  matmul,
  groupedMatmul,
  gather,
  scatter,
  argsort: constant,
  topK: constant,
  assign: constant,
  detach: constant,
  after: identity,
  // y is not differentiated: the rule stands for it. Handing on the output, not the first input, lets second gradients use the rule too.
  custom: (ct, { attrs }, [, ...xs], output) => [null, ...attrs.backward(ct, output, ...xs)],
  call: identity,
  tag: identity,
  transfer: (ct, _, [x]) => [ct.to(x.device)],
} satisfies { [P in PrimitiveName]: VjpRule<P> };
