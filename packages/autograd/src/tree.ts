import { ConfigError, ShapeError, Tensor } from "@switchyard/tensor";
import { isTensor } from "@switchyard/tensor/graph";

/**
 * The shape of a tree without its tensors. A tree is a tensor, or an array or plain object of trees; anything else (numbers,
 * strings, null) belongs to the structure and passes through untouched.
 */
export type TreeStructure =
  | { readonly kind: "leaf" }
  | { readonly kind: "array"; readonly items: readonly TreeStructure[] }
  | { readonly kind: "object"; readonly entries: readonly (readonly [string, TreeStructure])[] }
  | { readonly kind: "constant"; readonly value: unknown };

const isPlain = (x: object): x is Record<string, unknown> => {
  const prototype: unknown = Object.getPrototypeOf(x);
  return prototype === Object.prototype || prototype === null;
};

const join = (path: string, key: string | number): string => (path === "" ? `${key}` : `${path}.${key}`);

function structureOf(tree: unknown, visit: (leaf: Tensor, path: string) => void, path = ""): TreeStructure {
  if (isTensor("tree", tree)) {
    visit(tree, path);
    return { kind: "leaf" };
  }
  if (Array.isArray(tree))
    return { kind: "array", items: tree.map((item, i) => structureOf(item, visit, join(path, i))) };
  if (tree === null || typeof tree !== "object" || !isPlain(tree)) return { kind: "constant", value: tree };
  const entries = Object.entries(tree).map(([key, x]) => [key, structureOf(x, visit, join(path, key))] as const);
  return { kind: "object", entries };
}

/** The tensors of a tree, in order, and what is left of it without them. */
export function treeFlatten(tree: unknown): [leaves: Tensor[], structure: TreeStructure] {
  const leaves: Tensor[] = [];
  const structure = structureOf(tree, (leaf) => leaves.push(leaf));
  return [leaves, structure];
}

/**
 * The tree of a structure with other leaves, which need not be tensors.
 * @throws {ShapeError} if there are more or fewer leaves than places.
 */
export function treeUnflatten<T>(structure: TreeStructure, leaves: readonly unknown[]): T {
  let at = 0;
  const build = (s: TreeStructure): unknown => {
    switch (s.kind) {
      case "leaf":
        return leaves[at++];
      case "array":
        return s.items.map(build);
      case "object":
        return Object.fromEntries(s.entries.map(([key, x]) => [key, build(x)]));
      case "constant":
        return s.value;
    }
  };
  const tree = build(structure);
  if (at !== leaves.length)
    throw new ShapeError(`treeUnflatten: the structure has ${at} leaves, got ${leaves.length} tensors`);
  return tree as T;
}

/** The tensors of a tree, in order. */
export const treeLeaves = (tree: unknown): Tensor[] => treeFlatten(tree)[0];

/**
 * Where the tensors of a tree are, in the order of `treeLeaves`: `layers.0.moe.router.gate`. A lone tensor is at `""`.
 *
 * @throws {ConfigError} if two read alike, as `{ "a.b": x, a: { b: y } }` has: a path is a name.
 */
export const treePaths = (tree: unknown): string[] => distinct("treePaths", pathsOf(tree));

/** @throws {ConfigError} unless each path is there once. */
export function distinct<Paths extends readonly string[]>(op: string, paths: Paths): Paths {
  const seen = new Set<string>();
  for (const path of paths) {
    if (seen.has(path))
      throw new ConfigError(
        `${op}: two tensors are at "${path}"; a key with a dot in it reads like two keys, so rename it`,
      );
    seen.add(path);
  }
  return paths;
}

/** As `treePaths`, for messages, where two may read alike. */
export function pathsOf(tree: unknown): string[] {
  const paths: string[] = [];
  structureOf(tree, (_, path) => paths.push(path));
  return paths;
}

/**
 * What stands in `tree` at each leaf of `structure`, by name and not by order, in the order of the structure.
 *
 * @param op for the message.
 * @throws {ShapeError} if an array or object of the structure has no counterpart, naming its path.
 */
export function leavesAt(op: string, structure: TreeStructure, tree: unknown): unknown[] {
  const found: unknown[] = [];
  const walk = (s: TreeStructure, t: unknown, path: string): void => {
    if (s.kind === "leaf") return void found.push(t);
    if (s.kind === "constant") return;
    const branches = Array.isArray(t) || (typeof t === "object" && t !== null && isPlain(t)) ? t : undefined;
    const entries = s.kind === "array" ? s.items.map((x, i) => [`${i}`, x] as const) : s.entries;
    const size = branches === undefined ? -1 : Object.keys(branches).length;
    if (Array.isArray(branches) !== (s.kind === "array") || size !== entries.length) throw differs(op, path, s, t);
    for (const [key, x] of entries) {
      if (!Object.hasOwn(branches!, key)) throw differs(op, join(path, key), x, undefined);
      walk(x, (branches as Record<string, unknown>)[key], join(path, key));
    }
  };
  walk(structure, tree, "");
  return found;
}

function differs(op: string, path: string, wanted: TreeStructure, got: unknown): ShapeError {
  const keys =
    wanted.kind === "object"
      ? `{ ${wanted.entries.map(([key]) => key).join(", ")} }`
      : wanted.kind === "array"
        ? `an array of ${wanted.items.length}`
        : "a tensor";
  const what = Array.isArray(got)
    ? `an array of ${got.length}`
    : got !== null && typeof got === "object" && isPlain(got)
      ? `{ ${Object.keys(got).join(", ")} }`
      : String(got);
  return new ShapeError(
    `${op}: the trees differ at ${path === "" ? "the root" : path}: one has ${keys}, the other ${what}`,
  );
}

/**
 * The tree with `f` of each tensor in its place.
 *
 * @param others trees of the same structure, whose tensors `f` gets beside.
 * @throws {ShapeError} if a tree has another structure, naming the path.
 */
export function treeMap<T>(f: (leaf: Tensor, ...others: Tensor[]) => unknown, tree: T, ...others: unknown[]): T {
  const [leaves, structure] = treeFlatten(tree);
  const beside = others.map((other) => leavesAt("treeMap", structure, other));
  return treeUnflatten(
    structure,
    leaves.map((leaf, i) => f(leaf, ...beside.map((column) => expectTensor(column[i], i, tree)))),
  );
}

function expectTensor(x: unknown, i: number, tree: unknown): Tensor {
  if (x instanceof Tensor) return x;
  throw differs("treeMap", pathsOf(tree)[i], { kind: "leaf" }, x);
}
