import { ConfigError } from "@switchyard/tensor";
import { checkOptions, oneOf, positiveInteger, positiveNumber } from "@switchyard/tensor/graph";

/**
 * How a factor becomes a number of places, for T real tokens, E experts and k choices; never less than 1.
 *
 * - `switch`: `floor(factor · T / E)`, whatever k is. (Switch Transformers, Mesh TensorFlow.)
 * - `gshard`: `floor(factor · 2 T / E)`, for top-2. (GShard, where the factor is 1.)
 * - `megablocks`: `floor(factor · k T / E)`. (MegaBlocks.)
 * - `megatron`: `ceil(factor · k T / E)`. (Megatron-LM.)
 */
export type CapacityConvention = "switch" | "gshard" | "megablocks" | "megatron";

/**
 * Who gets a place where more ask than there are.
 *
 * - `position`: earlier tokens, and of one token its better choices.
 * - `choice`: all first choices before any second; among equals, earlier tokens.
 * - `gate`: the greater weight; among equals, earlier tokens. With k = 1, the batch prioritised routing of Riquelme et al. 2021.
 * - `random`: any order, by a key.
 */
export type CapacityPriority = "position" | "choice" | "gate" | "random";

interface Priority {
  /** `position` by default. */
  readonly priority?: CapacityPriority;
}

interface Places extends Priority {
  /** Places of each expert. */
  readonly capacity: number;
  readonly capacityFactor?: undefined;
  readonly convention?: undefined;
}

interface Factor extends Priority {
  readonly capacity?: undefined;
  /** Places of each expert, by those that balanced experts would need: see `convention`. */
  readonly capacityFactor: number;
  /** `megatron` by default. */
  readonly convention?: CapacityConvention;
}

/** A limit on the pairs that an expert sees: a number, or a factor that grows with the batch. */
export type CapacityOptions = Places | Factor;

/** @throws {ConfigError} on a bad option, or unless there is exactly one of `capacity` and `capacityFactor`. */
export function checkCapacity(op: string, options: CapacityOptions): void {
  checkOptions<Partial<Record<keyof CapacityOptions, unknown>>>(op, options, {
    capacity: positiveInteger,
    capacityFactor: positiveNumber,
    convention: oneOf(...Object.keys(conventions)),
    priority: oneOf("position", "choice", "gate", "random"),
  });
  const { capacity, capacityFactor, convention } = options;
  if ((capacity === undefined) === (capacityFactor === undefined))
    throw new ConfigError(`${op}: needs one of the options "capacity" and "capacityFactor", and not both`);
  if (capacity !== undefined && convention !== undefined)
    throw new ConfigError(`${op}: "convention" says what a capacityFactor means; with "capacity", leave it out`);
}

/** Numbers that a factor is applied to. */
interface Batch {
  /** Real ones only. */
  readonly tokens: number;
  readonly experts: number;
  readonly k: number;
}

const conventions = {
  switch: (factor, { tokens, experts }) => Math.floor((factor * tokens) / experts),
  gshard: (factor, { tokens, experts }) => Math.floor((factor * 2 * tokens) / experts),
  megablocks: (factor, { tokens, experts, k }) => Math.floor((factor * k * tokens) / experts),
  megatron: (factor, { tokens, experts, k }) => Math.ceil(((k * tokens) / experts) * factor),
} satisfies { [C in CapacityConvention]: (factor: number, batch: Batch) => number };

/** How many pairs each expert has room for. */
export function capacityOf(options: CapacityOptions, batch: Batch): number {
  if (options.capacity !== undefined) return options.capacity;
  const { capacityFactor, convention = "megatron" } = options;
  return Math.max(1, conventions[convention](capacityFactor, batch));
}
