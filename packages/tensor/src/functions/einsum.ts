import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { DType } from "../types.ts";
import { mul } from "./elementwise.ts";
import { parseEquation, type Equation, type Label } from "./einsumEquation.ts";
import { matmul } from "./linear.ts";
import { sum } from "./reductions.ts";
import { permute, reshape, slice, type SliceRange } from "./views.ts";

/** A tensor whose axes have names, each once. */
interface Term {
  readonly tensor: Tensor;
  readonly labels: readonly Label[];
}

/**
 * Einstein summation, `einsum("bik,bkj->bij", x, y)`: labels name axes, a label missing from the output is summed over, one repeated in
 * an operand takes its diagonal, `...` stands for axes that broadcast. Several operands are contracted two at a time, in the order of
 * least multiplications. Lowered to views, products, sums and `matmul`, so that its gradients are too.
 *
 * @throws {ShapeError} if the equation is malformed or does not fit the operands.
 */
export function einsum<D extends DType>(equation: string, ...operands: readonly Tensor<D>[]): Tensor<D> {
  const { inputs, output, extents } = parseEquation(equation, operands);
  const terms = inputs.map((labels, i) => {
    const others = new Set([...output, ...inputs.filter((_, j) => j !== i).flat()]);
    return sumOut(distinct(withoutBroadcast({ tensor: operands[i], labels }, extents)), others);
  });
  const contract = (order: Order): Term => {
    if (typeof order === "number") return terms[order];
    const [left, right] = [contract(order.left), contract(order.right)];
    return product(left, right, new Set(order.kept));
  };
  const { tensor, labels } = contract(bestOrder(terms, output, extents));
  return permute(
    tensor,
    output.map((label) => labels.indexOf(label)),
  ) as Tensor<D>;
}

/** Drops axes of extent 1 that broadcast: multiplying by a term without the label is the same. */
function withoutBroadcast({ tensor, labels }: Term, extents: Equation["extents"]): Term {
  const stays = labels.map((label, axis) => tensor.shape[axis] === extents.get(label));
  return {
    tensor: reshape(
      tensor,
      tensor.shape.filter((_, axis) => stays[axis]),
    ),
    labels: labels.filter((_, axis) => stays[axis]),
  };
}

/** Takes the diagonal over each repeated label: of n·n elements in a row, every (n + 1)-th. */
function distinct({ tensor, labels }: Term): Term {
  const second = labels.findIndex((label, axis) => labels.indexOf(label) < axis);
  if (second < 0) return { tensor, labels };
  const first = labels.indexOf(labels[second]);
  const rest = [...labels.keys()].filter((axis) => axis !== first && axis !== second);
  const extent = tensor.shape[first];
  const shape = rest.map((axis) => tensor.shape[axis]);
  const rows = reshape(permute(tensor, [...rest, first, second]), [...shape, extent * extent]);
  const diagonal = slice(rows, ...rest.map((): SliceRange => []), [null, null, extent + 1]);
  return distinct({ tensor: diagonal, labels: [...rest.map((axis) => labels[axis]), labels[first]] });
}

/** Sums over the labels that nobody else needs. */
function sumOut({ tensor, labels }: Term, needed: ReadonlySet<Label>): Term {
  const spent = [...labels.keys()].filter((axis) => !needed.has(labels[axis]));
  return spent.length === 0
    ? { tensor, labels }
    : { tensor: sum(tensor, spent), labels: labels.filter((label) => needed.has(label)) };
}

/** The product of two terms, summed over the labels not kept. */
function product(a: Term, b: Term, kept: ReadonlySet<Label>): Term {
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const batch = shared.filter((label) => kept.has(label));
  const inner = shared.filter((label) => !kept.has(label));
  const rows = a.labels.filter((label) => !shared.includes(label));
  const columns = b.labels.filter((label) => !shared.includes(label));
  if (inner.length === 0 || (rows.length === 0 && columns.length === 0)) {
    const labels = [...batch, ...rows, ...columns, ...inner];
    return sumOut({ tensor: mul(aligned(a, labels), aligned(b, labels)), labels }, kept);
  }
  const [x, y] = [ordered(a, [...batch, ...rows, ...inner]), ordered(b, [...batch, ...inner, ...columns])];
  const lead = x.shape.slice(0, batch.length);
  const outer = [x.shape.slice(lead.length, -inner.length), y.shape.slice(lead.length + inner.length)];
  const [m, n] = outer.map(sizeOf);
  const k = sizeOf(x.shape.slice(-inner.length));
  const tensor = matmul(reshape(x, [...lead, m, k]), reshape(y, [...lead, k, n]));
  return { tensor: reshape(tensor, [...lead, ...outer.flat()]), labels: [...batch, ...rows, ...columns] };
}

/** The axes in the order of the labels. */
const ordered = ({ tensor, labels }: Term, order: readonly Label[]): Tensor =>
  permute(
    tensor,
    order.map((label) => labels.indexOf(label)),
  );

/** The axes in the order of the labels, with extent 1 for those the term lacks. */
function aligned(term: Term, order: readonly Label[]): Tensor {
  const own = order.filter((label) => term.labels.includes(label));
  const extents = ordered(term, own).shape.values();
  return reshape(
    ordered(term, own),
    order.map((label) => (own.includes(label) ? extents.next().value! : 1)),
  );
}

/** A tree of pairwise products over the terms' positions. */
type Order = number | { readonly left: Order; readonly right: Order; readonly kept: readonly Label[] };

/** The cheapest tree for each set of terms (a bit mask), from the smaller sets up: 3^n steps, for the few operands people write. */
function bestOrder(terms: readonly Term[], output: readonly Label[], extents: Equation["extents"]): Order {
  const everyone = 2 ** terms.length - 1;
  const members = (set: number): Term[] => terms.filter((_, i) => (set >> i) & 1);
  const labelsOf = (set: number): Label[] => members(set).flatMap((term) => term.labels);
  const kept = (set: number): Label[] => {
    const needed = new Set([...output, ...labelsOf(everyone ^ set)]);
    return [...new Set(labelsOf(set))].filter((label) => needed.has(label));
  };
  const keptOf = Array.from({ length: everyone + 1 }, (_, set) => kept(set));
  const best: { order: Order; cost: number }[] = [];
  for (let set = 1; set <= everyone; set++) {
    best[set] = { order: Math.log2(set), cost: Number.isInteger(Math.log2(set)) ? 0 : Infinity };
    for (let left = (set - 1) & set; left > (set ^ left); left = (left - 1) & set) {
      const right = set ^ left;
      const work = sizeOf([...new Set([...keptOf[left], ...keptOf[right]])].map((label) => extents.get(label)!));
      const cost = best[left].cost + best[right].cost + work;
      if (cost < best[set].cost)
        best[set] = { order: { left: best[left].order, right: best[right].order, kept: keptOf[set] }, cost };
    }
  }
  return best[everyone].order;
}
