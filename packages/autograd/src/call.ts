import type { Tensor } from "@switchyard/tensor";
import { apply } from "@switchyard/tensor/graph";

/**
 * A function under a name. Its meaning and its gradient are those of its body; a device may own a better kernel for the name.
 *
 * @param options what such a kernel must know beyond the inputs: plain data, part of what is compiled.
 */
export const call =
  <Xs extends readonly Tensor[]>(name: string, body: (...xs: Xs) => Tensor, options: object = {}) =>
  (...xs: Xs): Tensor =>
    apply("call", [body(...xs), ...xs], { name, options });
