import { realize, tensor, type Tensor } from "@switchyard/tensor";
import { draw } from "../../runner/random.ts";
import type { Task } from "../../tasks.ts";

/** A tensor of numbers that every contestant draws alike. */
export const drawn = (shape: readonly number[], seed: number, stream: number, scale = 1): Tensor =>
  tensor(
    draw(
      shape.reduce((a, b) => a * b, 1),
      seed,
      stream,
      scale,
    ),
    { shape },
  );

type Results = { readonly [name: string]: Tensor };

/** Work that is written as a graph each time, realized, and let go. */
export const taskOf = (make: () => Results): Task => ({
  async run() {
    const made = make();
    await realize(made);
    for (const t of Object.values(made)) t.dispose();
  },
  async outputs() {
    const made = make();
    await realize(made);
    const read = Object.entries(made).map(async ([name, t]) => [name, (await t.data()) as Float32Array] as const);
    const outputs = Object.fromEntries(await Promise.all(read));
    for (const t of Object.values(made)) t.dispose();
    return outputs;
  },
});
