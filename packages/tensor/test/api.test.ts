import { expect, test } from "vitest";
import * as api from "@switchyard/tensor";

/** Functions that are no methods: they make tensors, take no tensor first, or are not about one tensor. */
const functionsOnly = `arange eye full graphOf linspace ones onesLike tensor zeros zerosLike
  assign attention call concat dropout einsum mark scatter stack term shiftLeft shiftRight
  ceilings shareOfCeiling totalOf
  defaultDevice devices init memory profile realize scope setDefaultDevice shutdown`.split(/\s+/);
/** Methods that are no functions: about the handle, not its elements. */
const methodsOnly = `constructor node derive expectTensor storage adopt end size ndim
  data item toArray dispose to toString`.split(/\s+/);

test("every function of a tensor is also a method, and every method a function of the same name", () => {
  const functions = Object.entries(api).flatMap(([name, x]) =>
    typeof x === "function" && /^[a-z]/.test(name) ? [name] : [],
  );
  const methods = Object.getOwnPropertyNames(api.Tensor.prototype);
  const sorted = (names: readonly string[]): string[] => names.toSorted();
  expect(sorted(functions.filter((name) => !methods.includes(name)))).toEqual(sorted(functionsOnly));
  expect(sorted(methods.filter((name) => !functions.includes(name)))).toEqual(sorted(methodsOnly));
});
