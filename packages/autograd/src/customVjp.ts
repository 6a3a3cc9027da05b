import { GradientError, Tensor } from "@switchyard/tensor";
import {
  aFunction,
  apply,
  checkOptions,
  describe,
  flag,
  isFloat,
  isTensor,
  requireOptions,
  sameShape,
  type Backward,
  type Rules,
} from "@switchyard/tensor/graph";

export interface CustomVjp<Xs extends readonly Tensor[]> {
  /** The function. What it closes over are constants: pass whatever wants a gradient. */
  readonly forward: (...xs: Xs) => Tensor;
  /** Cotangents of `xs` from the cotangent of `y`; null is zero. Written in tensor operations, so it is differentiated in turn. */
  readonly backward: (ct: Tensor, y: Tensor, ...xs: Xs) => readonly (Tensor | null)[];
  /** Whether `backward` is linear in `ct`, as a true VJP is. If not, the parts of a gradient cannot be told apart beyond it. */
  readonly linear?: boolean;
}

const rules: Rules<CustomVjp<readonly Tensor[]>> = { forward: aFunction, backward: aFunction, linear: flag };

/**
 * A function with a gradient of its own making, to any order.
 *
 * @throws {GradientError} when called with anything but tensors, or if `forward` returns anything but one.
 * @throws {GradientError} when differentiated, if `backward` gives the wrong number or shape of cotangents.
 */
export function customVjp<Xs extends readonly Tensor[]>(rule: CustomVjp<Xs>): (...xs: Xs) => Tensor {
  checkOptions("customVjp", rule as unknown as CustomVjp<readonly Tensor[]>, rules);
  requireOptions("customVjp", rule, "forward", "backward");
  const { forward, backward, linear = true } = rule;
  const checked: Backward = (ct, y, ...xs) => {
    const given: readonly unknown[] = backward(ct, y, ...(xs as readonly Tensor[] as Xs));
    checkCotangents(given, xs);
    return given;
  };
  return (...xs) => {
    for (const [i, x] of xs.entries()) checkTensor(`input ${i} is`, x, "close over what is none");
    const y = forward(...xs);
    checkTensor("forward returned", y, "return one, for example a stack");
    return apply("custom", [y, ...xs], { backward: checked, linear });
  };
}

function checkTensor(what: string, x: unknown, remedy: string): void {
  if (isTensor("customVjp", x)) return;
  throw new GradientError(`customVjp: ${what} ${String(x)}, which is no tensor; ${remedy}`);
}

function checkCotangents(given: unknown, xs: readonly Tensor[]): asserts given is readonly (Tensor | null)[] {
  if (!Array.isArray(given) || given.length !== xs.length)
    throw new GradientError(
      `customVjp: backward must return an array with a cotangent or null for each of ${xs.length} inputs, got ${
        Array.isArray(given) ? given.length : String(given)
      }`,
    );
  for (const [i, ct] of given.entries()) {
    if (ct === null) continue;
    const x = xs[i];
    if (!isFloat(x.dtype))
      throw new GradientError(`customVjp: input ${i} is ${describe(x)}, which has no cotangent; return null for it`);
    if (!(ct instanceof Tensor) || !sameShape(ct.shape, x.shape) || ct.dtype !== x.dtype)
      throw new GradientError(
        `customVjp: the cotangent of input ${i} must be ${describe(x)} like the input, got ${
          ct instanceof Tensor ? describe(ct) : String(ct)
        }`,
      );
  }
}
