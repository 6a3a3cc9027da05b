import { groupedMatmul as grouped, matmul as multiply } from "@switchyard/tensor";
import type { VjpRule } from "./rule.ts";

export const matmul: VjpRule<"matmul"> = (ct, _, [a, b]) => [
  () => multiply(ct, b.transpose()),
  () => multiply(a.transpose(), ct),
];

/** Closed under itself: the gradients of both modes are `rows` and `contract` again, so empty groups cost nothing backwards either. */
export const groupedMatmul: VjpRule<"groupedMatmul"> = (ct, { attrs: { mode } }, [lhs, rhs, offsets]) =>
  mode === "rows"
    ? [() => grouped(ct, rhs.transpose(), offsets), () => grouped(lhs, ct, offsets, { mode: "contract" }), null]
    : [() => grouped(rhs, ct.transpose(), offsets), () => grouped(lhs, ct, offsets), null];
