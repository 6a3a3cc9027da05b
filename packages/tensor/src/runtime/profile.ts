import type { KernelRun } from "../backend/backend.ts";
import { backendOf, defaultDevice, liveBackends } from "./devices.ts";

/** One row of a profile: the kernels of one name, together. */
export interface KernelProfile {
  readonly name: string;
  readonly calls: number;
  readonly ms: number;
  /** What they had to read and write, at least. */
  readonly bytes: number;
  readonly flops: number;
}

/**
 * Runs `fn` and tells where its time went, kernel by kernel, the longest first. Covers the default device and those that have started. Timing
 * costs a barrier after every kernel, so the whole takes somewhat longer than it otherwise would.
 */
export async function profile<T>(fn: () => T | Promise<T>): Promise<{ result: T; kernels: KernelProfile[] }> {
  const rows = new Map<string, { name: string; calls: number; ms: number; bytes: number; flops: number }>();
  const listener = ({ name, ms, bytes, flops }: KernelRun): void => {
    const row = rows.get(name) ?? { name, calls: 0, ms: 0, bytes: 0, flops: 0 };
    rows.set(name, { name, calls: row.calls + 1, ms: row.ms + ms, bytes: row.bytes + bytes, flops: row.flops + flops });
  };
  await backendOf(defaultDevice());
  const backends = liveBackends();
  for (const backend of backends) backend.onKernel(listener);
  try {
    const result = await fn();
    return { result, kernels: [...rows.values()].toSorted((a, b) => b.ms - a.ms) };
  } finally {
    for (const backend of backends) backend.onKernel(undefined);
  }
}
