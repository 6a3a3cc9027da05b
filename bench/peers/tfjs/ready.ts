import type { Tensor } from "@tensorflow/tfjs-core";
import { draw } from "../../runner/random.ts";
import type { Task } from "../../tasks.ts";
import type { TensorFlow } from "./load.ts";

export const drawn = (tf: TensorFlow, shape: number[], seed: number, stream: number, scale = 1): Tensor =>
  tf.tensor(
    draw(
      shape.reduce((a, b) => a * b, 1),
      seed,
      stream,
      scale,
    ),
    shape,
  );

/** Work done in a `tidy`, its results let go. The wasm and cpu backends compute before an operation returns. */
export const taskOf = (tf: TensorFlow, make: () => { [name: string]: Tensor }, inputs: readonly Tensor[]): Task => ({
  run: async () => tf.dispose(tf.tidy(make)),
  async outputs() {
    const made = tf.tidy(make);
    const read = Object.entries(made).map(([name, t]) => [name, t.dataSync().slice() as Float32Array]);
    tf.dispose(made);
    return Object.fromEntries(read);
  },
  end: () => tf.dispose([...inputs]),
});

/** A function's value, and its gradients under a cotangent. `grads` alone would hide the value that the forward pass makes. */
export function valueAndPullback(
  tf: TensorFlow,
  f: (...xs: Tensor[]) => Tensor,
  xs: Tensor[],
  ct: Tensor,
): [Tensor, Tensor[]] {
  let y!: Tensor;
  const grads = tf.grads((...inner: Tensor[]) => (y = tf.keep(f(...inner))))(xs, ct);
  const value = tf.clone(y);
  y.dispose();
  return [value, grads];
}
