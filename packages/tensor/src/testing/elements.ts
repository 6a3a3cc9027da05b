import * as fc from "fast-check";
import { sizeOf } from "../shape.ts";
import type { Shape } from "../types.ts";

/** A structure and the elements, in row-major order, of the shape that it has. */
export interface Filled<S> {
  readonly structure: S;
  readonly values: readonly number[];
}

/**
 * Structures, such as shapes, filled with elements. Shrinks to smaller structures that keep elements of the larger (which a chain of
 * arbitraries would draw anew, losing the failure that lay in them), then all elements together, then each.
 */
export const filled = <S>(
  structures: fc.Arbitrary<S>,
  shapeOf: (structure: S) => Shape,
  element: fc.Arbitrary<number>,
): fc.Arbitrary<Filled<S>> => new FilledArbitrary(structures, shapeOf, element);

/** How a structure and its elements were drawn. */
interface Drawn<S> {
  readonly structure: fc.Value<S>;
  readonly elements: readonly fc.Value<number>[];
}

class FilledArbitrary<S> extends fc.Arbitrary<Filled<S>> {
  readonly #structures: fc.Arbitrary<S>;
  readonly #shapeOf: (structure: S) => Shape;
  readonly #element: fc.Arbitrary<number>;

  constructor(structures: fc.Arbitrary<S>, shapeOf: (structure: S) => Shape, element: fc.Arbitrary<number>) {
    super();
    this.#structures = structures;
    this.#shapeOf = shapeOf;
    this.#element = element;
  }

  generate(random: fc.Random, bias: number | undefined): fc.Value<Filled<S>> {
    const structure = this.#structures.generate(random, bias);
    const size = sizeOf(this.#shapeOf(structure.value));
    const elements = Array.from({ length: size }, () => this.#element.generate(random, bias));
    return valueOf({ structure, elements });
  }

  // oxlint-disable-next-line no-unused-vars -- a type predicate must name what it is about
  canShrinkWithoutContext(value: unknown): value is Filled<S> {
    return false;
  }

  shrink(_: Filled<S>, context: unknown): fc.Stream<fc.Value<Filled<S>>> {
    const drawn = context as Drawn<S>;
    return fc.stream(this.#smaller(drawn)).join(this.#simpler(drawn)).map(valueOf);
  }

  *#smaller({ structure, elements }: Drawn<S>): IterableIterator<Drawn<S>> {
    const before = this.#shapeOf(structure.value);
    for (const next of this.#structures.shrink(structure.value, structure.context))
      for (const positions of kept(before, this.#shapeOf(next.value)))
        yield { structure: next, elements: positions.map((position) => elements[position]) };
  }

  *#simpler({ structure, elements }: Drawn<S>): IterableIterator<Drawn<S>> {
    const simpler = ({ value, context }: fc.Value<number>) => this.#element.shrink(value, context);
    const together = elements.map((element) => simpler(element).getNthOrLast(0) ?? element);
    if (together.some((element, i) => element !== elements[i])) yield { structure, elements: together };
    for (const [i, element] of elements.entries())
      for (const next of simpler(element)) yield { structure, elements: elements.with(i, next) };
  }
}

const valueOf = <S>(drawn: Drawn<S>): fc.Value<Filled<S>> =>
  new fc.Value({ structure: drawn.structure.value, values: drawn.elements.map((e) => e.value) }, drawn);

/** Ways to choose elements of a shape for a smaller one: along each axis the first, the last, or all but one. */
function kept(before: Shape, after: Shape): number[][] {
  const size = sizeOf(after);
  const first = Array.from({ length: size }, (_, position) => position);
  const narrower = before.length === after.length && after.every((n, axis) => n <= before[axis]);
  if (!narrower) return size <= sizeOf(before) ? [first] : [];
  const choices = after.map((n, axis) => coordinates(before[axis], n));
  const ways = Math.max(1, ...choices.map((along) => along.length));
  return Array.from({ length: ways }, (_, way) =>
    choices.reduce<number[]>(
      (positions, along, axis) => {
        const chosen = along[Math.min(way, along.length - 1)];
        return positions.flatMap((position) => chosen.map((i) => position * before[axis] + i));
      },
      [0],
    ),
  );
}

/** Ways to keep `n` coordinates of `extent`. */
function coordinates(extent: number, n: number): number[][] {
  const all = Array.from({ length: extent }, (_, i) => i);
  if (n === extent) return [all];
  if (n === extent - 1) return all.toReversed().map((left) => all.toSpliced(left, 1));
  return [all.slice(0, n), all.slice(extent - n)];
}
