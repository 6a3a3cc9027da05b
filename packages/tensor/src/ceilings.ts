import { DeviceError } from "./errors.ts";
import { tensor } from "./make.ts";
import { realize } from "./realizeTree.ts";
import { defaultDevice } from "./runtime/devices.ts";
import { profile, type KernelProfile } from "./runtime/profile.ts";
import type { Tensor } from "./tensor.ts";

/** What a device reaches, as measured: the marks to judge a profile by. */
export interface Ceilings {
  /** Billions of operations a second in a large matrix product, where a multiply-add counts as two. */
  readonly gflops: number;
  /** Billions of bytes read and written a second by a kernel that does next to nothing else. */
  readonly gigabytesPerSecond: number;
}

const side = 1024;
/** Elements: 64 MiB, larger than caches. */
const long = 2 ** 24;
const repetitions = 6;

/**
 * Measures the default device: a product of two 1024·1024 matrices of f32, and a pass over 64 MiB. The best of six each, in the kernels alone;
 * about a second.
 *
 * @throws {DeviceError} on `cpu`, which counts neither operations nor bytes.
 */
export async function ceilings(): Promise<Ceilings> {
  if (defaultDevice() === "cpu")
    throw new DeviceError("ceilings: the cpu device counts neither operations nor bytes; use wasm or webgpu");
  const [square, vector] = [filled(side ** 2), filled(long)];
  const matrix = square.reshape([side, side]);
  try {
    const product = await fastest(() => matrix.matmul(matrix));
    const pass = await fastest(() => vector.add(1));
    return { gflops: product.flops / product.ms / 1e6, gigabytesPerSecond: pass.bytes / pass.ms / 1e6 };
  } finally {
    square.dispose();
    vector.dispose();
  }
}

const filled = (size: number): Tensor => tensor(new Float32Array(size).fill(0.5));

async function fastest(write: () => Tensor): Promise<Work> {
  let best: Work = { ms: Infinity, bytes: 0, flops: 0 };
  for (let i = 0; i < repetitions; i++) {
    const { result, kernels } = await profile(() => realize(write()));
    result.dispose();
    const all = totalOf(kernels);
    if (all.ms < best.ms) best = all;
  }
  return best;
}

/** What some kernels took and did. */
export type Work = Pick<KernelProfile, "ms" | "bytes" | "flops">;

/** The sum over kernels. */
export const totalOf = (kernels: readonly Work[]): Work => ({
  ms: kernels.reduce((sum, { ms }) => sum + ms, 0),
  bytes: kernels.reduce((sum, { bytes }) => sum + bytes, 0),
  flops: kernels.reduce((sum, { flops }) => sum + flops, 0),
});

/** The time that the nearer ceiling forces over the time taken: 1 where nothing is left to gain. */
export const shareOfCeiling = ({ ms, bytes, flops }: Work, { gflops, gigabytesPerSecond }: Ceilings): number =>
  Math.max(flops / gflops, bytes / gigabytesPerSecond) / 1e6 / ms;
