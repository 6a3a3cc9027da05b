import type { DeviceError } from "../errors.ts";
import type { AnyNode } from "../node.ts";
import type { Storage } from "../runtime/storage.ts";
import type { DType, TypedArray } from "../types.ts";

/** A piece of device memory. Each backend adds what it needs. */
export interface Allocation {
  readonly bytes: number;
}

export interface RunRequest {
  /** What to compute, on this device; the leaves it needs are in place. A node asked for twice gets two results. */
  readonly roots: readonly AnyNode[];
  /** Storages that nothing needs after this run, so that a result may be written in place of one. */
  readonly donated: ReadonlySet<Storage>;
}

export interface RunResult {
  /** One per root. It may be the allocation of a donated storage. */
  readonly allocations: readonly Allocation[];
  /** Settles when the elements are there. */
  readonly done: Promise<void>;
}

/** One kernel that ran: how long, and what it had to move and compute. */
export interface KernelRun {
  readonly name: string;
  readonly ms: number;
  readonly bytes: number;
  readonly flops: number;
}

/**
 * A device. Work happens in the order it was asked for, so memory freed after `run` may be handed out again at once. A `read`
 * is asked for when the run that makes the elements is done, and nothing is written over them until it has them.
 */
export interface Backend {
  readonly dtypes: readonly DType[];
  /** What a list of devices says of it, such as threads or the adapter's name. */
  readonly details: Readonly<Record<string, string | number | boolean>>;
  /** Why the device can do no more work, once that is so: the next `init` starts another in its place. */
  readonly failure?: DeviceError;
  /** Copies host elements in. */
  upload(data: TypedArray, dtype: DType): Allocation;
  /** Starts computing the roots and returns at once. @throws {DeviceError} if they do not fit. */
  run(request: RunRequest): RunResult;
  /** A copy of the elements on the host. */
  read(allocation: Allocation, dtype: DType, size: number): Promise<TypedArray>;
  free(allocation: Allocation): void;
  /** Tells a listener of each kernel that ends from now on, until it is undefined. Timing costs a barrier per kernel. */
  onKernel(listener: ((run: KernelRun) => void) | undefined): void;
  /** Bytes held for reuse, in no live tensor. */
  poolBytes(): number;
  shutdown(): Promise<void>;
}
