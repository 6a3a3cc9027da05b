import fc from "fast-check";
import { tensor, where, concat, type DeviceName, type Tensor } from "../../src/index.ts";
import { apply } from "../../src/apply.ts";

/** One random step of a graph: which earlier tensor it reads, and what it does. */
export interface Step {
  readonly kind: number;
  readonly from: number;
  readonly other: number;
  readonly choice: number;
}

export const steps = (most: number): fc.Arbitrary<Step[]> =>
  fc.array(fc.record({ kind: fc.nat(19), from: fc.nat(), other: fc.nat(), choice: fc.nat(23) }), {
    minLength: 1,
    maxLength: most,
  });

const shapes = [[2, 3], [3, 4], [4], [2, 3, 4], [1, 4], [], [0, 3], [5, 1, 2]];

/** The tensors a random program makes, all finite and of moderate size; the last few are what is read. */
export function build(program: readonly Step[], seed: number, device: DeviceName = "cpu"): Tensor[] {
  const made: Tensor[] = shapes.slice(0, 5).map((shape, i) => leaf(shape, seed + i, device));
  for (const step of program) {
    const x = made[made.length - 1 - (step.from % made.length)];
    const y = made[made.length - 1 - (step.other % made.length)];
    const next = apply1(x, y, step);
    if (next.size <= 200) made.push(next);
  }
  return made;
}

function leaf(shape: readonly number[], seed: number, device: DeviceName): Tensor {
  let state = (seed * 2654435761) >>> 0;
  const size = shape.reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.round((state / 2 ** 32) * 64 - 32) / 16;
  });
  return tensor(data, { shape, device });
}

const broadcastable = (x: Tensor, y: Tensor): boolean =>
  Array.from({ length: Math.min(x.ndim, y.ndim) }, (_, i) => [x.shape.at(-1 - i)!, y.shape.at(-1 - i)!]).every(
    ([a, b]) => a === b || a === 1 || b === 1,
  );

function apply1(x: Tensor, y: Tensor, { kind, choice }: Step): Tensor {
  const axis = x.ndim === 0 ? 0 : choice % x.ndim;
  switch (kind) {
    case 0:
      return broadcastable(x, y) ? x.add(y) : x.add(1.5);
    case 1:
      return broadcastable(x, y) ? x.mul(y).clip(-4, 4) : x.mul(-0.5);
    case 2:
      return x.tanh();
    case 3:
      return x.mul(0.25).exp();
    case 4:
      return x.ndim > 1 ? x.transpose(axis, -1) : x.neg();
    case 5:
      return x.reshape(x.size === 0 ? [0, 2] : choice % 2 ? [x.size] : [1, x.size, 1]);
    case 6:
      return x.ndim > 0 ? x.sum(axis).mul(0.25) : x.abs();
    case 7:
      return x.ndim > 0 && x.size > 0 ? x.max(axis, { keepDims: true }) : x.relu();
    case 8:
      return x.ndim > 0 ? x.sub(x.mean(-1, { keepDims: true })) : x.sigmoid();
    case 9:
      return x.ndim > 0 && x.size > 0 ? x.sub(x.logSumExp(-1, { keepDims: true })) : x.square();
    case 10:
      return x.ndim > 0
        ? x.slice(...x.shape.map((_, i): [null, null, number] => [null, null, i === axis ? (choice % 2 ? -1 : 2) : 1]))
        : x;
    case 11:
      return x.ndim > 0
        ? x.pad(
            x.shape.map((_, i): [number, number] => (i === axis ? [1, choice % 3] : [0, 0])),
            choice % 2 ? 0 : 1.25,
          )
        : x;
    case 12:
      return x.ndim > 0 ? concat([x, x.mul(2)], axis) : x;
    case 13:
      return x.ndim > 0 ? x.gather([1, 0, 7, 0], axis) : x;
    case 14:
      return x.ndim > 1 ? x.matmul(x.transpose()).mul(0.1) : x.neg();
    case 15:
      return x.ndim > 0 ? x.cumsum(axis).mul(0.5) : x;
    case 16:
      return x.ndim > 0 && x.size > 0 ? x.gather(x.argMax(axis), axis) : x;
    case 17:
      return where(x.gt(0.5), x, x.mul(-0.25).add(0.125));
    case 18:
      return x.ndim > 0 && x.shape[x.ndim - 1] > 1 ? x.topK(1 + (choice % 2)).values : x;
    default:
      return x.ndim > 0
        ? (apply("pad", [x], {
            low: x.shape.map((_, i) => Number(i === axis)),
            high: x.shape.map(() => 0),
            interior: x.shape.map((_, i) => (i === axis ? 1 : 0)),
          }) as Tensor)
        : x;
  }
}
