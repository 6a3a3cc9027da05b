/**
 * One step of a program: a module, its argument block, and how many tiles of work there are. A kernel of the plan becomes one
 * or more of these (a matrix product packs, then multiplies), with a barrier between them.
 *
 * Every module imports `env.memory` and, if it needs them, `math.<name>`, and exports `run(args, begin, end, scratch)`: `args`
 * is the byte address of the argument block, `[begin, end)` the tiles to compute, `scratch` the byte address of `scratchBytes`
 * private to the thread. A module holds no extents, so a new shape compiles nothing. Which thread computes which tile must not
 * change a bit of the result.
 */
export interface Launch {
  /** Equal keys mean equal modules. */
  readonly key: string;
  /** The module; called when no module with this key exists yet. */
  readonly emit: () => Uint8Array;
  readonly args: readonly Word[];
  readonly tiles: number;
}

/** A 32-bit word of an argument block (two for an f64 number). */
export type Word =
  | { readonly kind: "int"; readonly value: number }
  /** The byte address of a plan buffer plus `offset` elements. */
  | { readonly kind: "buffer"; readonly buffer: number; readonly offset: number }
  /** The byte address of a temporary of this kernel's own, shared by its launches and all threads. */
  | { readonly kind: "temporary"; readonly index: number }
  /** A run-time number of the plan, in its dtype: two words, aligned to 4 bytes only, if that is f64. */
  | { readonly kind: "number"; readonly slot: number };

/** What a kernel of the plan becomes. */
export interface Lowered {
  readonly launches: readonly Launch[];
  /** Bytes of each temporary. */
  readonly temporaries: readonly number[];
}

export const scratchBytes = 2 ** 20;
