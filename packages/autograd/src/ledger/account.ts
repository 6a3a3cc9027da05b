import { ConfigError, type DType, type Shape, type Tensor } from "@switchyard/tensor";
import type { Step } from "./flow.ts";
import { keyOf, type PathClass } from "./pathClass.ts";
import type { Cause, NoPath } from "./zero.ts";

/** What is known of one place, a parameter or a mark: the gradient that arrives there, by class. */
export interface Account {
  /** A path, or a mark's name. */
  readonly where: string;
  readonly kind: "parameter" | "mark";
  /** Of a mark. */
  readonly role?: string;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly parts: readonly AccountPart[];
  /** Zeros like the place, for what no part arrives at. */
  readonly zeros: () => Tensor;
  /** Why nothing arrives, where nothing does. */
  readonly noPath?: NoPath;
}

export interface AccountPart {
  readonly class: PathClass;
  readonly contribution: () => Tensor;
  /** Its elements, row-major. */
  readonly data: ArrayLike<number>;
  readonly steps: () => Step[];
  /** What made elements exactly zero; undefined if that was not looked into. */
  readonly causes?: readonly Cause[];
}

/** By which property classes are told apart when others are merged. */
export type Property = "term" | "scope" | "mark";

const only = {
  term: ({ term }) => ({ term }),
  scope: ({ scope }) => ({ scope }),
  mark: ({ marks }) => ({ marks }),
} satisfies { [P in Property]: (cls: PathClass) => PathClass };

/** The account with classes told apart by one property alone. What passed a nonlinear rule stays apart. */
export function merged(account: Account, property: Property): Account {
  if (!Object.hasOwn(only, property))
    throw new ConfigError(`ledger: by must be one of "${Object.keys(only).join('", "')}", got ${String(property)}`);
  const groups = new Map<string, { cls: PathClass; parts: AccountPart[] }>();
  for (const part of account.parts) {
    const cls = without({ ...only[property](part.class), nonlinear: part.class.nonlinear });
    const group = groups.get(keyOf(cls)) ?? { cls, parts: [] };
    group.parts.push(part);
    groups.set(keyOf(cls), group);
  }
  return { ...account, parts: [...groups.values()].map(({ cls, parts }) => together(cls, parts)) };
}

/** Leaves out what is undefined. */
const without = (cls: { [K in keyof PathClass]: PathClass[K] | undefined }): PathClass =>
  Object.fromEntries(Object.entries(cls).filter(([, value]) => value !== undefined)) as PathClass;

function together(cls: PathClass, parts: readonly AccountPart[]): AccountPart {
  if (parts.length === 1) return { ...parts[0], class: cls };
  const [strongest] = parts.toSorted((a, b) => largerFirst(normOf(a.data), normOf(b.data)));
  const causes = parts.every((part) => part.causes) ? parts.flatMap((part) => part.causes!) : undefined;
  return {
    class: cls,
    contribution: once(() => parts.map((part) => part.contribution()).reduce((sum, part) => sum.add(part))),
    data: sumOf(
      parts.map((part) => part.data),
      parts[0].data.length,
    ),
    steps: strongest.steps,
    ...(causes && { causes }),
  };
}

/** Computes a value when it is first asked for. */
export function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** The sum of arrays, element by element, in f64. */
export function sumOf(arrays: readonly ArrayLike<number>[], length: number): ArrayLike<number> {
  if (arrays.length === 1) return arrays[0];
  const sum = new Float64Array(length);
  for (const array of arrays) for (let i = 0; i < length; i++) sum[i] += array[i];
  return sum;
}

export function dotOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export const normOf = (a: ArrayLike<number>): number => Math.sqrt(dotOf(a, a));

/** Compares sizes: the larger first, and before all what is not finite. */
export function largerFirst(a: number, b: number): number {
  // NaN compares with nothing, and a comparison that is not consistent sorts nothing.
  const [p, q] = [a, b].map((x) => (Number.isFinite(x) ? x : Infinity));
  return p === q ? 0 : q - p;
}
