import { apply } from "../apply.ts";
import type { Tensor } from "../tensor.ts";

/**
 * A composite with a name: its meaning, and its gradient, are those of the body, but a backend may own a better kernel for the name.
 *
 * @param body a function of its arguments alone, which the kernel computes from.
 * @param options what such a kernel needs to know beyond the arguments: plain data, structural.
 */
export const call =
  <Xs extends readonly Tensor[], Y extends Tensor>(name: string, body: (...xs: Xs) => Y, options: object = {}) =>
  (...xs: Xs): Y =>
    apply("call", [body(...xs), ...xs], { name, options }) as Tensor as Y;
