import type { AnyNode } from "../node.ts";
import type { Tensor } from "../tensor.ts";
import type { DeviceName } from "../types.ts";
import { copyFirst, type Primitive } from "./primitive.ts";

/** Each of these is its first input; what they add is said to autograd, the ledger, the scheduler or a backend. */
const identity = <A>(key: (attrs: A) => string): Primitive<A> => ({
  infer: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
  reference: copyFirst,
  key,
});

export interface DetachAttrs {
  /** Whether the result of the whole formula does not depend on the value, as softmax's does not on the peak it shifts by: no gradient is lost. */
  readonly invariant?: true;
}

/** Stops gradients. */
export const detach: Primitive<DetachAttrs> = identity(() => "");

/** `after(x, t)` is x, available only once t is. Common subexpressions do not merge across it. */
export const after: Primitive<object> = identity(() => "");

/** The pullback of a `custom` node: cotangents of `xs`, null where there is none. */
export type Backward = (ct: Tensor, y: Tensor, ...xs: Tensor[]) => readonly (Tensor | null)[];

export interface CustomAttrs {
  readonly backward: Backward;
  /** Whether `backward` is linear in the cotangent, as every true VJP is. */
  readonly linear: boolean;
}

/** `[y, ...xs]`: y, with a gradient to xs by a rule of its own. */
export const custom: Primitive<CustomAttrs> = identity(() => "");

export interface CallAttrs {
  readonly name: string;
  /** What a backend's own kernel for `name` needs to know beyond the inputs: plain data. */
  readonly options: object;
}

/** `[y, ...xs]`: y, which is the body `name` applied to xs alone; a backend may own a better kernel for the name. */
export const call: Primitive<CallAttrs> = identity(({ name, options }) => `${name}${JSON.stringify(options)}`);

export interface TagAttrs {
  readonly kind: "term" | "mark" | "input";
  readonly name: string;
  /** Of a mark: what it is to those who look for such places. */
  readonly role?: string;
}

/**
 * A name for the ledger: a term of the loss, or a place on a path; and the fresh variable that a gradient is taken by, named by
 * its path, which is the tensor it stands for, so that an outer gradient passes through it.
 */
export const tag: Primitive<TagAttrs> = identity(() => "");

export interface TransferAttrs {
  readonly device: DeviceName;
  /** The copy on the other device, once it has been made: the runtime's own. */
  readonly arrived: { leaf?: AnyNode };
}

/** The same elements on another device. */
export const transfer: Primitive<TransferAttrs> = identity(() => "");
