import { realize, type Tensor } from "@switchyard/tensor";
import { repeating, sizeOf, type AnyNode } from "@switchyard/tensor/graph";
import type { Flow } from "./flow.ts";

/** What a cotangent amounts to. */
export interface Measure {
  /** Euclidean, of all elements. */
  readonly norm: number;
  readonly min: number;
  readonly max: number;
  /** With all classes that arrive at the same place together; 0 if either is 0. */
  readonly cosine: number;
  /** The position of the first element that is NaN or infinite, row-major; absent if there is none. */
  readonly firstNonFinite?: number;
}

/** What was measured. One cotangent may arrive at several places, each with others beside it. */
export interface Measures {
  /** The norm of a cotangent, wherever it goes; 0 of what was not measured. */
  readonly normOf: (ct: Tensor) => number;
  /** A cotangent that arrived at a node. */
  readonly at: (node: AnyNode, ct: Tensor) => Measure | undefined;
}

/** Numbers of one cotangent, on the device. */
interface Asked {
  readonly squares: Tensor;
  readonly min: Tensor;
  readonly max: Tensor;
}

/** Numbers of the classes that arrive at one place together: of each with their sum, and of that with itself. */
interface AskedTogether {
  readonly cts: readonly Tensor[];
  readonly dots: readonly Tensor[];
  readonly squares: Tensor;
}

/** How many cotangents a flow has to measure. */
export const measurable = ({ arrivals, edges }: Flow): number =>
  [...arrivals.values()].reduce((n, byClass) => n + byClass.size, 0) +
  [...edges.values()].reduce((n, given) => n + (given.length > 1 ? given.length : 0), 0);

/** Measures every cotangent of a flow, in one plan. */
export async function measure({ arrivals, edges }: Flow): Promise<Measures> {
  // What only one consumer gave is what arrived.
  const cts = new Set([...arrivals.values()].flatMap((byClass) => [...byClass.values()]));
  for (const given of edges.values()) for (const { ct } of given) cts.add(ct);
  const asked = new Map([...cts].filter(({ size }) => size > 0).map((ct) => [ct, ask(ct)]));
  const together = new Map(
    [...arrivals]
      .filter(([{ shape }, byClass]) => byClass.size > 1 && sizeOf(shape) > 0)
      .map(([node, byClass]) => [node, askTogether([...byClass.values()])]),
  );
  await repeating(() =>
    realize([[...asked.values()], [...together.values()].map(({ dots, squares }) => [dots, squares])]),
  );
  const measured = await eachOf(asked, answer);
  const cosines = await eachOf(together, (question) => cosinesOf(question, measured));
  return {
    normOf: (ct) => measured.get(ct)?.norm ?? 0,
    at(node, ct) {
      const alone = measured.get(ct);
      return alone && { ...alone, cosine: cosines.get(node)?.get(ct) ?? alone.cosine };
    },
  };
}

const ask = (ct: Tensor): Asked => ({ squares: ct.square().sum(), min: ct.min(), max: ct.max() });

function askTogether(cts: readonly Tensor[]): AskedTogether {
  const total = cts.reduce((sum, ct) => sum.add(ct));
  return { cts, dots: cts.map((ct) => ct.mul(total).sum()), squares: total.square().sum() };
}

/** What a question about each key is answered with. */
const eachOf = async <K, Q, A>(asked: ReadonlyMap<K, Q>, of: (question: Q, key: K) => Promise<A>): Promise<Map<K, A>> =>
  new Map(await Promise.all([...asked].map(async ([key, question]) => [key, await of(question, key)] as const)));

/** The measure of a cotangent that arrives alone. */
async function answer({ squares, min, max }: Asked, ct: Tensor): Promise<Measure> {
  const [square, least, most] = await Promise.all([squares, min, max].map((t) => take(t, ct)));
  const measured = { norm: Math.sqrt(square), min: least, max: most, cosine: square === 0 ? 0 : 1 };
  // NaN wins max, so the extremes tell whether all is finite.
  return Number.isFinite(least) && Number.isFinite(most)
    ? measured
    : { ...measured, firstNonFinite: await firstIn(ct) };
}

async function cosinesOf(
  { cts, dots, squares }: AskedTogether,
  measured: ReadonlyMap<Tensor, Measure>,
): Promise<Map<Tensor, number>> {
  const [whole, ...products] = await Promise.all([squares, ...dots].map((t) => take(t)));
  return new Map(
    cts.map((ct, i) => {
      const norms = measured.get(ct)!.norm * Math.sqrt(whole);
      return [ct, norms === 0 ? 0 : products[i] / norms];
    }),
  );
}

/** Reads and disposes of a number; not of the cotangent, since a scalar is its own minimum. */
async function take(t: Tensor, ct?: Tensor): Promise<number> {
  const value = await t.item();
  if (t !== ct) t.dispose();
  return value;
}

const firstIn = (ct: Tensor): Promise<number> =>
  repeating(() => ct.reshape([-1]).isFinite().not().cast("i32").argMax().item());
