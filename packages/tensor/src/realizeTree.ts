import type { AnyNode } from "./node.ts";
import { checkOptions, type Rules } from "./options.ts";
import { leafStorage, valueNode } from "./runtime/leaves.ts";
import { bufferNode, submit, workOf, type Work } from "./runtime/realize.ts";
import type { Storage } from "./runtime/storage.ts";
import { isTensor, type Tensor } from "./tensor.ts";

export interface RealizeOptions {
  /** Trees that this call spends: their buffers may hold the results, and later use of them is a `DisposedError`. */
  readonly donate?: unknown;
}

const rules: Rules<RealizeOptions> = { donate: { must: "a tree", holds: () => true } };

/**
 * Computes every tensor of a tree and keeps the results in device buffers. All that is asked for in one turn of the event loop
 * runs as one program. The handles are usable at once, in flight: the next graph can be built while the device works.
 *
 * @returns the same tree, its handles now backed by buffers.
 * @throws {ConfigError} on an unknown option.
 * @throws {DisposedError} if something needed has been disposed or donated.
 */
export async function realize<T>(tree: T, options: RealizeOptions = {}): Promise<T> {
  checkOptions("realize", options, rules);
  const { donate } = options;
  const handles = [...new Set(tensorsIn(tree))];
  const work: Promise<void>[] = [];
  const kept = new Set<Storage>();
  const pending: { readonly tensors: readonly Tensor[]; readonly asked: Work }[] = [];
  for (const device of new Set(handles.map((t) => t.device))) {
    const unrealized = handles.filter((t) => t.device === device && !alias(t, kept, work));
    if (unrealized.length === 0) continue;
    const nodes = [...new Set(unrealized.map((t) => valueNode(t.node)))];
    pending.push({ tensors: unrealized, asked: workOf(nodes) });
  }
  const spent = donatedStorages(donate, new Set(handles), kept);
  for (const { tensors, asked } of pending) {
    const { nodes } = asked;
    const { storages, done } = submit(
      asked,
      spent.filter((s) => s.device === nodes[0].device),
    );
    storages.forEach((s) => (s.handles = 0));
    const leaves = new Map(nodes.map((node, i) => [node, { storage: storages[i], leaf: bufferNode(storages[i]) }]));
    for (const t of tensors) adopt(t, leaves.get(valueNode(t.node))!);
    work.push(done);
  }
  endDonated(donate, kept, new Set(handles));
  await Promise.all(work);
  return tree;
}

function adopt(t: Tensor, { storage, leaf }: { storage: Storage; leaf: AnyNode }): void {
  storage.handles++;
  t.adopt(storage, leaf);
}

/** Lets a handle whose value is already a leaf share that leaf's storage; false if there is something to compute. */
function alias(t: Tensor, kept: Set<Storage>, work: Promise<void>[]): boolean {
  const leaf = valueNode(t.node);
  const storage = leafStorage(leaf);
  if (!storage) return false;
  storage.assertLive("realize");
  if (!t.storage) adopt(t, { storage, leaf });
  kept.add(storage);
  work.push(storage.ready);
  return true;
}

/** Storages that end with this call: all of whose handles are donated and none of which is returned. */
function donatedStorages(donate: unknown, returned: ReadonlySet<Tensor>, kept: ReadonlySet<Storage>): Storage[] {
  const counts = new Map<Storage, number>();
  for (const t of new Set(tensorsIn(donate))) {
    const { storage } = t;
    if (storage && !returned.has(t) && !kept.has(storage)) counts.set(storage, (counts.get(storage) ?? 0) + 1);
  }
  return [...counts].filter(([storage, count]) => storage.handles === count).map(([storage]) => storage);
}

function endDonated(donate: unknown, kept: ReadonlySet<Storage>, returned: ReadonlySet<Tensor>): void {
  for (const t of new Set(tensorsIn(donate))) {
    if (!returned.has(t) && !(t.storage && kept.has(t.storage))) t.end("donated");
  }
}

/** Every tensor of a tree, in order; other leaves are passed over. */
export function* tensorsIn(tree: unknown): Generator<Tensor> {
  if (isTensor("realize", tree)) yield tree;
  else if (Array.isArray(tree)) for (const branch of tree) yield* tensorsIn(branch);
  else if (tree !== null && typeof tree === "object" && isPlain(tree)) yield* tensorsIn(Object.values(tree));
}

const isPlain = (x: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(x);
  return prototype === Object.prototype || prototype === null;
};
