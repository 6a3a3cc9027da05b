import { realize, type Tensor } from "@switchyard/tensor";
import { repeating } from "@switchyard/tensor/graph";
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

/** Measures by the handle of the cotangent. */
export type Measures = ReadonlyMap<Tensor, Measure>;

/** Numbers of one cotangent, on the device. */
interface Asked {
  readonly squares: Tensor;
  readonly min: Tensor;
  readonly max: Tensor;
  /** Of a cotangent that shares its place with other classes: with their sum, and that with itself. */
  readonly beside?: { readonly dot: Tensor; readonly squares: Tensor };
}

/** How many cotangents a flow has to measure. */
export const measurable = ({ arrivals, edges }: Flow): number =>
  [...arrivals.values()].reduce((n, byClass) => n + byClass.size, 0) +
  [...edges.values()].reduce((n, given) => n + (given.length > 1 ? given.length : 0), 0);

/** Measures every cotangent of a flow, in one plan. */
export async function measure(flow: Flow): Promise<Measures> {
  const asked = new Map<Tensor, Asked>();
  for (const byClass of flow.arrivals.values()) {
    const cts = [...byClass.values()];
    const total = cts.length > 1 ? cts.reduce((sum, ct) => sum.add(ct)) : undefined;
    for (const ct of cts) if (ct.size > 0) asked.set(ct, ask(ct, total));
  }
  // What only one consumer gave is what arrived.
  for (const given of flow.edges.values())
    for (const { ct } of given) if (ct.size > 0 && !asked.has(ct)) asked.set(ct, ask(ct));
  await repeating(() => realize([...asked.values()]));
  return new Map(await Promise.all([...asked].map(async ([ct, q]) => [ct, await answer(ct, q)] as const)));
}

function ask(ct: Tensor, total?: Tensor): Asked {
  return {
    squares: ct.square().sum(),
    min: ct.min(),
    max: ct.max(),
    ...(total && { beside: { dot: ct.mul(total).sum(), squares: total.square().sum() } }),
  };
}

async function answer(ct: Tensor, { squares, min, max, beside }: Asked): Promise<Measure> {
  const [square, least, most] = await Promise.all([squares, min, max].map(take));
  const norm = Math.sqrt(square);
  const [dot, whole] = beside ? await Promise.all([beside.dot, beside.squares].map(take)) : [square, square];
  const cosine = norm === 0 || whole === 0 ? 0 : dot / (norm * Math.sqrt(whole));
  const measured = { norm, min: least, max: most, cosine };
  // NaN wins max, so the extremes tell whether all is finite.
  return Number.isFinite(least) && Number.isFinite(most)
    ? measured
    : { ...measured, firstNonFinite: await firstIn(ct) };
}

async function take(t: Tensor): Promise<number> {
  const value = await t.item();
  t.dispose();
  return value;
}

const firstIn = (ct: Tensor): Promise<number> =>
  repeating(() => ct.reshape([-1]).isFinite().not().cast("i32").argMax().item());
