import { blockUntilReady, numpy as np, tree } from "@jax-js/jax";
import { draw } from "../../runner/random.ts";
import type { Task } from "../../tasks.ts";

export type JaxArray = np.Array;

export const drawn = (shape: number[], seed: number, stream: number, scale = 1): JaxArray =>
  np.array(
    draw(
      shape.reduce((a, b) => a * b, 1),
      seed,
      stream,
      scale,
    ),
    { shape },
  );

type Results = { [name: string]: JaxArray };

/** Work by a compiled function, given a reference to each input at each call, as functions of this library use theirs up. */
export function taskOf(compiled: (...inputs: JaxArray[]) => Results, inputs: readonly JaxArray[]): Task {
  const call = (): Results => compiled(...inputs.map((x) => x.ref));
  return {
    async run() {
      tree.dispose(await blockUntilReady(call()));
    },
    async outputs() {
      const read = Object.entries(call()).map(async ([name, x]) => [name, (await x.data()) as Float32Array] as const);
      return Object.fromEntries(await Promise.all(read));
    },
    end: () => inputs.forEach((x) => x.dispose()),
  };
}
