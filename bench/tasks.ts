/**
 * The work that contestants are asked to do, by name, with the sizes that each takes. Every contestant draws the same data
 * from the seed, so that results can be compared number by number.
 */
export interface TaskSizes {
  /** `[n, n] · [n, n]`. */
  readonly matmul: { readonly n: number };
  /** Forward, and backward from a given cotangent, over rows of a matrix. */
  readonly softmax: { readonly rows: number; readonly cols: number };
  readonly layerNorm: { readonly rows: number; readonly cols: number };
  /** Forward, and backward from a given cotangent. The tanh form where a peer has no erf form. */
  readonly gelu: { readonly size: number };
  /** `a * b + c`, then its square root of the square plus one: bound by memory. */
  readonly chain: { readonly size: number };
  /** The sum of every row. */
  readonly sum: { readonly rows: number; readonly cols: number };
  /** Rows sorted by group, each group times its own matrix; then the gradient of those matrices. */
  readonly groupedMatmul: {
    readonly groups: number;
    readonly rows: number;
    readonly inner: number;
    readonly cols: number;
  };
  /** One mixture layer of SwiGLU experts without biases, top-k softmax routing: forward and backward. */
  readonly moe: MoeSizes;
  /** The experts of that layer alone, rows given in expert order: what is left when nothing is routed. */
  readonly expertsAlone: MoeSizes;
  /** The dense feed-forward network whose width gives the same products per token: forward and backward. */
  readonly dense: { readonly tokens: number; readonly dim: number; readonly hidden: number };
  /** A training step of a language model of characters. */
  readonly step: StepSizes;
}

export interface MoeSizes {
  readonly tokens: number;
  readonly dim: number;
  readonly hidden: number;
  readonly experts: number;
  readonly k: number;
}

export interface StepSizes {
  readonly vocab: number;
  readonly layers: number;
  readonly dim: number;
  readonly heads: number;
  readonly hidden: number;
  readonly context: number;
  readonly batch: number;
  readonly experts: number;
  readonly k: number;
  readonly activation: "relu" | "swiglu";
  /** `noisy`: the demo's router with its importance and load losses. `softmax`: the plain one, without losses, that peers can match. */
  readonly router: "noisy" | "softmax";
}

export type TaskName = keyof TaskSizes;

/** Something ready to be run again and again. */
export interface Task {
  /** Does the work once, and settles when it is done, results on the device. */
  run(): Promise<void>;
  /** Does it once more and reads the results. */
  outputs(): Promise<{ readonly [name: string]: Float32Array }>;
  end?(): void;
}

export type TaskMakers = { readonly [N in TaskName]?: (sizes: TaskSizes[N], seed: number) => Task | Promise<Task> };

/** What a JavaScript contestant's module exports. */
export interface Peer {
  /** @returns what is worth knowing about it: version, threads. */
  start(options: {
    readonly threads?: number;
    readonly revectorize?: boolean;
  }): Promise<{ readonly [fact: string]: unknown }>;
  readonly tasks: TaskMakers;
  /** Where a task's time goes, if the peer can tell. */
  profile?(task: Task): Promise<readonly KernelRow[]>;
  /** The peer's own ceilings on all its threads at once. */
  ceilings?(): Promise<Ceilings>;
}

export interface KernelRow {
  readonly name: string;
  readonly calls: number;
  readonly ms: number;
  readonly bytes: number;
  readonly flops: number;
}

export interface Ceilings {
  /** Multiply-adds of the product's inner loop on packed panels in the first-level cache, 2 operations each. */
  readonly gflops: number;
  /** Bytes read plus bytes written in copies too large for any cache. */
  readonly gigabytesPerSecond: number;
}
