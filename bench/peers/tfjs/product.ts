import type { GradSaveFunc, Tensor } from "@tensorflow/tfjs-core";
import type { TensorFlow } from "./load.ts";

/**
 * `a · b` over the last two axes, whose gradients transpose first and multiply then. The library's own gradients ask its product to read
 * transposed, which on wasm is some ten times slower than a copy and the plain product.
 */
export function productOf(tf: TensorFlow) {
  const transposed = (x: Tensor): Tensor => {
    const axes = x.shape.map((_, i) => i);
    return tf.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
  };
  return <T extends Tensor>(a: T, b: T): T =>
    tf.customGrad((...args: (Tensor | GradSaveFunc)[]) => {
      const [x, y, save] = args as [Tensor, Tensor, GradSaveFunc];
      save([x, y]);
      return {
        value: tf.matMul(x, y),
        gradFunc: (dy: Tensor, [left, right]: Tensor[]) => [
          tf.matMul(dy, transposed(right)),
          tf.matMul(transposed(left), dy),
        ],
      };
    })(a, b) as T;
}
