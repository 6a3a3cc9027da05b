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

type Made = { [name: string]: Tensor };

/** Work done in a `tidy`, its results let go. The wasm and cpu backends compute before an operation returns. */
export const taskOf = (tf: TensorFlow, make: () => Made, inputs: readonly Tensor[]): Task =>
  asyncTaskOf(tf, async () => tf.tidy(make), inputs);

/** Work that must wait for a reading in its middle. */
export const asyncTaskOf = (tf: TensorFlow, make: () => Promise<Made>, inputs: readonly Tensor[]): Task => ({
  async run() {
    const made = await make();
    await finished(tf);
    tf.dispose(made);
  },
  async outputs() {
    const made = await make();
    const read = Object.entries(made).map(async ([name, t]) => [name, (await t.data()).slice() as Float32Array]);
    const outputs = Object.fromEntries(await Promise.all(read)) as { [name: string]: Float32Array };
    tf.dispose(made);
    return outputs;
  },
  end: () => tf.dispose([...inputs]),
});

/** What of the webgpu backend is needed to wait for it. */
interface Submitting {
  readonly queue?: GPUQueue;
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** When the device has done what it was given; webgpu alone works on after an operation has returned. */
async function finished(tf: TensorFlow): Promise<void> {
  const backend = tf.backend() as unknown as Submitting;
  if (!backend.queue) return;
  if (backend.commandEncoder) {
    backend.endComputePassEncoder();
    backend.submitQueue();
  }
  await backend.queue.onSubmittedWorkDone();
}

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
