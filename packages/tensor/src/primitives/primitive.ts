import type { DType, Shape, TypedArray } from "../types.ts";

/** Shape and dtype: all that a rule may look at. */
export interface Spec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A tensor's elements on the host, contiguous and row-major. */
export interface HostArray extends Spec {
  readonly data: TypedArray;
}

/**
 * A primitive: what it accepts, and the naive loop that is its living definition.
 *
 * `A` are the attributes: everything but tensors. They are structural (part of the plan's key) unless `key` leaves them out.
 */
export interface Primitive<A> {
  /** @throws {ShapeError | DTypeError} naming the op, the rule and what it got. */
  readonly infer: (inputs: readonly Spec[], attrs: A) => Spec;
  /** Fills `out`, which arrives zeroed. Sums of floats accumulate in f64 and round once. */
  readonly reference: (out: HostArray, inputs: readonly HostArray[], attrs: A) => void;
  /** The attributes' part of the plan key. */
  readonly key: (attrs: A) => string;
}

/** The key of attributes that are all structural and plain data. */
export const plainKey = (attrs: object): string => JSON.stringify(attrs);

/** Leaves and identities that only a backend or the runtime resolves have no loop. */
export const copyFirst = (out: HostArray, inputs: readonly HostArray[]): void => out.data.set(inputs[0].data);
