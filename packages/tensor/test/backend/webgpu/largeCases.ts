import {
  argsort,
  full,
  gather,
  groupedMatmul,
  random,
  scatter,
  softmax,
  tensor,
  topK,
  type DeviceName,
  type Tensor,
} from "../../../src/index.ts";

/** A computation large enough to take every path of the WebGPU kernels: all tiles, pieces of k, long rows, merges in device memory. */
export interface LargeCase {
  readonly name: string;
  readonly make: (device: DeviceName) => Tensor;
  /** How far an element may be off, relative to the largest. */
  readonly tolerance: number;
}

/** Numbers in [-1, 1) that depend on the seed alone, with six bits so that many sums are exact. */
export function data(seed: number, size: number): Float32Array {
  let state = (seed * 2654435761 + 1) >>> 0;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * 64) / 32 - 1;
  });
}

const at = (device: DeviceName, seed: number, ...shape: number[]): Tensor =>
  tensor(
    data(
      seed,
      shape.reduce((a, b) => a * b, 1),
    ),
    { shape, device },
  );

const indices = (device: DeviceName, seed: number, size: number, n: number): Tensor<"i32"> =>
  tensor(
    Int32Array.from(data(seed, size), (x) => Math.floor(((x + 1) / 2) * n)),
    { device },
  ) as Tensor<"i32">;

const offsets = (device: DeviceName, ...list: number[]): Tensor<"i32"> =>
  tensor(Int32Array.from(list), { device }) as Tensor<"i32">;

/** Rows whose product is -3, and that of whose first elements is up to 2^800. The length is a multiple of 16. */
function powers(device: DeviceName, rows: number, length: number): Tensor {
  const values = Float32Array.from({ length: rows * length }, (_, i) => {
    const power = 2 ** (i % 16 < 8 ? 100 : -100);
    return i % length === 0 ? -3 * power : power;
  });
  return tensor(values, { shape: [rows, length], device });
}

const one = (name: string, tolerance: number, make: LargeCase["make"]): LargeCase => ({ name, tolerance, make });

export const largeCases: readonly LargeCase[] = [
  one("a product in large tiles", 1e-6, (d) => at(d, 1, 128, 128, 20).matmul(at(d, 2, 128, 20, 128))),
  one("a product in large tiles, all edges ragged", 1e-6, (d) => at(d, 1, 70, 150, 19).matmul(at(d, 2, 70, 19, 131))),
  one("a product in middle tiles", 1e-6, (d) => at(d, 1, 720, 68).matmul(at(d, 2, 68, 720))),
  one("a product in middle tiles of transposed operands", 1e-6, (d) =>
    at(d, 1, 68, 720)
      .transpose()
      .matmul(at(d, 2, 720, 68).transpose()),
  ),
  one("a product in small tiles with bias and gelu", 1e-5, (d) =>
    at(d, 1, 200, 132)
      .matmul(at(d, 2, 132, 90))
      .add(at(d, 3, 90))
      .gelu(),
  ),
  one("a product of few rows", 1e-6, (d) => at(d, 1, 5, 300).matmul(at(d, 2, 300, 513))),
  one("a product of few tiles and a long k", 1e-5, (d) =>
    at(d, 1, 40, 9000)
      .matmul(at(d, 2, 9000, 24))
      .mul(0.5),
  ),
  one("an integer product", 0, (d) =>
    at(d, 1, 90, 70)
      .mul(32)
      .cast("i32")
      .matmul(at(d, 2, 70, 80).mul(32).cast("i32")),
  ),
  one("a product of chosen rows", 1e-6, (d) =>
    gather(at(d, 1, 50, 64), indices(d, 3, 333, 52), 0).matmul(at(d, 2, 64, 100)),
  ),
  one("grouped rows, one group empty, some rows nobody's", 1e-6, (d) =>
    groupedMatmul(at(d, 1, 700, 36), at(d, 2, 5, 36, 120), offsets(d, 0, 130, 130, 411, 420, 690)),
  ),
  one("grouped chosen rows", 1e-6, (d) =>
    groupedMatmul(
      gather(at(d, 1, 60, 36), indices(d, 3, 700, 60), 0),
      at(d, 2, 3, 36, 64),
      offsets(d, 0, 13, 257, 700),
    ),
  ),
  one("grouped contraction", 1e-6, (d) =>
    groupedMatmul(at(d, 1, 700, 36), at(d, 2, 700, 52), offsets(d, 0, 130, 130, 411, 690), { mode: "contract" }),
  ),
  one("grouped contraction of chosen rows", 1e-6, (d) =>
    groupedMatmul(gather(at(d, 1, 60, 36), indices(d, 3, 700, 62), 0), at(d, 2, 700, 52), offsets(d, 0, 13, 257, 700), {
      mode: "contract",
    }),
  ),
  one("softmax of long rows", 1e-6, (d) => softmax(at(d, 1, 40, 5000).mul(8), -1)),
  one("softmax of many short rows", 1e-6, (d) => softmax(at(d, 1, 3000, 9).mul(8), -1)),
  one("a gradient of softmax", 1e-6, (d) => {
    const y = softmax(at(d, 1, 70, 901).mul(8), -1);
    const ct = at(d, 2, 70, 901);
    return y.mul(ct.sub(y.mul(ct).sum(-1, { keepDims: true })));
  }),
  one("rows that need two dear values again", 1e-5, (d) => {
    const x = at(d, 1, 130, 333);
    const [a, b] = [x.exp(), x.tanh()];
    return a.div(a.sum(-1, { keepDims: true })).mul(b.sub(b.mean(-1, { keepDims: true })));
  }),
  one("the sum of everything", 1e-6, (d) => at(d, 1, 300_000).square().sum()),
  one("sums of columns", 1e-6, (d) => at(d, 1, 3000, 70).sum(0)),
  one("sums of few long columns", 1e-6, (d) => at(d, 1, 60_000, 3).square().sum(0)),
  one("sums of a middle axis", 1e-6, (d) => at(d, 1, 20, 300, 17).sum(1)),
  one("the largest of a long row", 0, (d) => at(d, 1, 2, 100_000).max(1)),
  one("whether any of a long row is above its bound", 0, (d) => at(d, 1, 3, 100_000).gt(0.95).any(1).cast("f32")),
  one("products of long rows that overflow on their way", 0, (d) => powers(d, 2, 100_000).prod(1)),
  one("products of short rows that overflow on their way", 0, (d) => powers(d, 300, 48).prod(1)),
  one("products of columns that overflow on their way", 0, (d) => powers(d, 70, 3200).transpose().prod(0)),
  one("a cumulative product that overflows on its way", 0, (d) => powers(d, 2, 9008).cumprod(1)),
  one("a layer norm", 1e-5, (d) => {
    const x = at(d, 1, 300, 260);
    const centred = x.sub(x.mean(-1, { keepDims: true }));
    return centred.mul(centred.square().mean(-1, { keepDims: true }).add(1e-5).rsqrt());
  }),
  one("a cumulative sum of a long row", 1e-6, (d) => at(d, 1, 2, 9001).cumsum(1)),
  one("a cumulative sum down columns", 1e-6, (d) => at(d, 1, 5000, 8).cumsum(0)),
  one("the arg max of long rows", 0, (d) => at(d, 1, 33, 4097).argMax(1)),
  one("a stable sort in one block", 0, (d) => argsort(at(d, 1, 7, 900))),
  one("a stable sort through device memory", 0, (d) => argsort(at(d, 1, 2, 9000))),
  one("a descending sort through device memory", 0, (d) => argsort(at(d, 1, 5000), 0, { descending: true })),
  one("top k of many rows", 0, (d) => topK(at(d, 1, 2000, 64), 8).indices),
  one("top k of long rows", 0, (d) => topK(at(d, 1, 3, 6000), 40).indices),
  one("a scatter of few places", 1e-6, (d) => scatter(at(d, 1, 9000), indices(d, 2, 9000, 18), [16])),
  one("a scatter of many places, sorted first", 1e-6, (d) =>
    scatter(at(d, 1, 4000, 24), indices(d, 2, 4000, 900), [890, 24]),
  ),
  one("a scatter of the largest", 0, (d) =>
    scatter(at(d, 1, 4000, 24), indices(d, 2, 4000, 900), [890, 24], { op: "max" }),
  ),
  one("a scatter of the last", 0, (d) =>
    scatter(at(d, 1, 4000, 24), indices(d, 2, 4000, 900), [890, 24], { op: "set" }),
  ),
  one("random bits", 0, (d) => random.bits(random.key(7).to(d), [100_001])),
  one("more points than one dimension of workgroups has", 0, (d) => full([17_000_000], 2, { device: d }).add(1)),
];

/** The first element that is too far off, in words. */
export function difference(got: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number): string | undefined {
  if (got.length !== wanted.length) return `${got.length} elements, not ${wanted.length}`;
  let scale = 0;
  for (let i = 0; i < wanted.length; i++) scale = Math.max(scale, Math.abs(wanted[i]));
  for (let i = 0; i < wanted.length; i++) {
    if (got[i] !== wanted[i] && !(Math.abs(got[i] - wanted[i]) <= tolerance * scale))
      return `element ${i} is ${got[i]}, not ${wanted[i]}`;
  }
  return undefined;
}
