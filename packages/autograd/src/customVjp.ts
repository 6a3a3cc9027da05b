import { GradientError, Tensor } from "@switchyard/tensor";
import { apply, describe, isFloat, sameShape, type Backward } from "@switchyard/tensor/graph";

export interface CustomVjp<Xs extends readonly Tensor[]> {
  /** The function. What it closes over are constants: pass whatever wants a gradient. */
  readonly forward: (...xs: Xs) => Tensor;
  /** Cotangents of `xs` from the cotangent of `y`; null is zero. Written in tensor operations, so it is differentiated in turn. */
  readonly backward: (ct: Tensor, y: Tensor, ...xs: Xs) => readonly (Tensor | null)[];
  /** Whether `backward` is linear in `ct`, as a true VJP is. If not, the parts of a gradient cannot be told apart beyond it. */
  readonly linear?: boolean;
}

/**
 * A function with a gradient of its own making, to any order.
 *
 * @throws {GradientError} when differentiated, if `backward` gives the wrong number or shape of cotangents.
 */
export function customVjp<Xs extends readonly Tensor[]>({
  forward,
  backward,
  linear = true,
}: CustomVjp<Xs>): (...xs: Xs) => Tensor {
  const checked: Backward = (ct, y, ...xs) => {
    const given: readonly unknown[] = backward(ct, y, ...(xs as readonly Tensor[] as Xs));
    checkCotangents(given, xs);
    return given;
  };
  return (...xs) => apply("custom", [forward(...xs), ...xs], { backward: checked, linear });
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
