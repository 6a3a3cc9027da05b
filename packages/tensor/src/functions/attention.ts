import { checkFloat, iotaLike } from "../apply.ts";
import { ShapeError } from "../errors.ts";
import { describe } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { DType } from "../types.ts";
import { call } from "./call.ts";
import { and, where } from "./elementwise.ts";
import { matmul } from "./linear.ts";
import { softmax } from "./neural.ts";
import { concat, type SliceRange } from "./views.ts";

export interface AttentionOptions {
  /** The last query sees every key, the one before all but the last key, and so on. */
  readonly causal?: boolean;
  /** `bool`, broadcasts to `[..., S, T]`: true where a query may see a key. */
  readonly mask?: Tensor;
  /** What scores are multiplied by, `1 / sqrt(d)` by default. Data. */
  readonly scale?: number;
}

/** Below any score, but finite: devices may assume that there are no infinities. */
const MASKED = -1e30;

/**
 * Scaled dot-product attention, `softmax(q kᵀ · scale) v`, as a `call` that a backend may run without storing the scores.
 *
 * @param q `[..., S, d]`, or with heads `[..., heads, S, d]`.
 * @param k `[..., T, d]`. It may have fewer heads than `q`, a divisor: runs of query heads then share one (grouped-query attention).
 * @param v `[..., T, e]`, with the heads of `k`.
 * @returns `[..., S, e]`; zeros for a query that sees no key.
 * @throws {ShapeError} if the shapes do not fit.
 */
export function attention<D extends DType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  { causal = false, mask, scale = 1 / Math.sqrt(q.shape.at(-1) ?? 1) }: AttentionOptions = {},
): Tensor<D> {
  checkFloat("attention", q);
  checkShapes(q, k, v);
  const body = (...[q, k, v, mask]: readonly Tensor[]): Tensor => {
    const [heads, groups] = [headsOf(q), headsOf(k)];
    if (heads === groups || heads === 1 || groups === 1) return attend(q, k, v, mask, causal);
    const split = (x: Tensor): Tensor => splitHeads(x, groups);
    const out = attend(split(q), split(k), split(v), mask && split(mask), causal); // [..., groups, heads/groups, S, e]
    return out.reshape([...out.shape.slice(0, -4), heads, ...out.shape.slice(-2)]);
  };
  return call("attention", body, { causal })(q.mul(scale), k, v, ...(mask ? [mask] : [])) as Tensor<D>;
}

const headsOf = (x: Tensor): number => x.shape.at(-3) ?? 1;

/** How often causal attention is cut in two, so that what no query of a part may see is not computed: of the half that is unseen, an eighth is left. */
const HALVINGS = 3;
/** Fewer queries than this would make products too small to be worth it. */
const FEW = 32;

/** Heads broadcast like any other leading axis. */
function attend(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | undefined,
  causal: boolean,
  halvings = HALVINGS,
): Tensor {
  const [queries, keys] = [q, k].map((x) => x.shape.at(-2)!);
  if (causal && !mask && halvings > 0 && queries >= 2 * FEW && keys >= queries)
    return attendInHalves(q, k, v, halvings - 1);
  const scores = matmul(q, k.transpose()); // [..., S, T]
  const past = causal ? causalMask(scores) : undefined;
  const allowed = mask && past ? and(mask, past) : (mask ?? past);
  if (!allowed) return matmul(softmax(scores), v);
  return matmul(where(allowed, softmax(where(allowed, scores, MASKED)), 0), v);
}

/** The earlier queries with the keys that they may see, and the later ones with all. */
function attendInHalves(q: Tensor, k: Tensor, v: Tensor, halvings: number): Tensor {
  const [queries, keys] = [q, k].map((x) => x.shape.at(-2)!);
  const half = Math.ceil(queries / 2);
  const rows = (x: Tensor, from: number, until: number): Tensor =>
    x.slice(...x.shape.slice(0, -2).map((): SliceRange => []), [from, until]);
  const seen = keys - queries + half;
  const earlier = attend(rows(q, 0, half), rows(k, 0, seen), rows(v, 0, seen), undefined, true, halvings);
  const later = attend(rows(q, half, queries), k, v, undefined, true, halvings);
  return concat([earlier, later], -2);
}

function causalMask(scores: Tensor): Tensor<"bool"> {
  const [queries, keys] = scores.shape.slice(-2);
  const position = (axis: number): Tensor<"i32"> => iotaLike(scores, [queries, keys], axis, "i32");
  return position(1).le(position(0).add(keys - queries));
}

/** The heads axis, if there is one, as groups and the heads of each: `[..., h, ·, ·] -> [..., groups, h/groups, ·, ·]`. */
function splitHeads(x: Tensor, groups: number): Tensor {
  if (x.ndim < 3) return x;
  const split = headsOf(x) === 1 ? [1, 1] : [groups, headsOf(x) / groups];
  return x.reshape([...x.shape.slice(0, -3), ...split, ...x.shape.slice(-2)]);
}

function checkShapes(q: Tensor, k: Tensor, v: Tensor): void {
  const fail = (rule: string): never => {
    throw new ShapeError(`attention: ${rule} (got q ${describe(q)}, k ${describe(k)}, v ${describe(v)})`);
  };
  if (q.ndim < 2 || k.ndim < 2 || v.ndim < 2) fail("takes [..., length, width]");
  if (q.shape.at(-1) !== k.shape.at(-1)) fail("q and k must have one width");
  if (k.shape.at(-2) !== v.shape.at(-2)) fail("k and v must have one length");
  const [heads, groups, valueGroups] = [q, k, v].map(headsOf);
  if (groups !== valueGroups) fail("k and v must have the same heads");
  if (groups !== 1 && heads !== 1 && heads % groups !== 0)
    fail(`${heads} heads of q do not divide among ${groups} of k`);
}
