import { wasmDType, type WasmDType } from "../../../../src/backend/wasm/dtypes.ts";
import fc from "fast-check";
import type { Instruction, LoopKernel, Plan, PlanBuffer, Stage, Store, View } from "../../../../src/schedule/plan.ts";
import type { ScalarOp } from "../../../../src/scalar.ts";
import { sizeOf } from "../../../../src/shape.ts";
import { hostArrayFrom, isFloat, type DType, type Shape, type TypedArray } from "../../../../src/types.ts";

export interface Case {
  readonly plan: Plan;
  readonly leaves: readonly TypedArray[];
  readonly numbers: readonly number[];
}

/** Random choices, which fast-check shrinks. */
interface Draw {
  readonly pick: <T>(values: readonly T[]) => T;
  /** True so many times in a hundred. */
  readonly chance: (percent: number) => boolean;
  readonly between: (low: number, high: number) => number;
}

/** A kernel in the making. */
interface Draft extends Draw {
  readonly dtypes: readonly DType[];
  readonly buffers: PlanBuffer[];
  readonly leaves: TypedArray[];
  readonly numbers: { readonly dtype: DType; readonly value: number }[];
  readonly loads: { readonly over: Over; readonly step: Instruction }[];
  readonly rowBodies: (readonly Instruction[])[];
  readonly reduces: { readonly stage: number; readonly dtype: DType }[];
}

type Over = "outer" | "row";

const extents = [1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 70];

const words = (list: string): ScalarOp[] => list.split(" ") as ScalarOp[];
/** Ops that are exact on small integers, so that fused, reordered and vectorised sums must agree to the bit. */
const ops: { readonly [D in WasmDType]: readonly ScalarOp[] } = {
  f32: words("add sub minimum maximum neg abs relu sign floor where mod"),
  f64: words("add sub minimum maximum neg abs relu sign ceil where"),
  i32: words("add sub mul mod minimum maximum and or xor shiftLeft shiftRight neg where not"),
  u32: words("add sub mul mod minimum maximum and or xor shiftLeft shiftRight sign where not"),
  bool: words("and or xor not minimum maximum eq ne lt le gt ge where"),
};
const unary = new Set(words("neg abs relu sign floor ceil not"));
const comparisons = new Set(words("eq ne lt le gt ge"));

const dtypeSets: readonly (readonly DType[])[] = [
  ["f32", "bool"],
  ["f32", "i32", "u32", "bool"],
  ["f32", "f64", "i32", "bool"],
];

/** A random kernel over random views, with leaves of small integers. */
export const randomCase: fc.Arbitrary<Case> = fc.gen().map((g) =>
  randomKernel({
    pick: (values) => values[g(fc.nat, { max: values.length - 1 })],
    chance: (percent) => g(fc.nat, { max: 99 }) < percent,
    between: (low, high) => low + g(fc.nat, { max: high - low }),
  }),
);

function randomKernel(draw: Draw): Case {
  const { pick, chance, between } = draw;
  const dtypes = dtypeSets[pick([0, 0, 0, 1, 1, 2])];
  const draft: Draft = { ...draw, dtypes, buffers: [], leaves: [], numbers: [], loads: [], rowBodies: [], reduces: [] };
  const outer = randomShape(draw, between(0, 3));
  const hasRow = chance(60);
  const row = hasRow ? randomShape(draw, between(0, 2)) : [];
  const stages: Stage[] = [];
  for (let count = hasRow ? between(1, 3) : 0; count > 0; count--) {
    stages.push(
      chance(65) ? randomReduce(draft, outer, row, stages.length) : randomMap(draft, "row", [...outer, ...row]),
    );
  }
  if (!hasRow || chance(60)) stages.push(randomMap(draft, "outer", outer), ...storeReduced(draft, outer));
  const kernel: LoopKernel = { kind: "loop", name: "random", outer, row, stages };
  const plan: Plan = { buffers: draft.buffers, kernels: [kernel], numbers: draft.numbers.map((n) => n.dtype) };
  return { plan, leaves: draft.leaves, numbers: draft.numbers.map((n) => n.value) };
}

// ---- stages ----

function randomReduce(draft: Draft, outer: Shape, row: Shape, stage: number): Stage {
  const body = randomBody(draft, "row", [...outer, ...row]);
  const value = draft.between(0, body.length - 1);
  const { dtype } = body[value];
  const drawn =
    dtype === "bool" ? draft.pick(["max", "min"] as const) : draft.pick(["sum", "max", "min", "prod"] as const);
  // Products of many are not exact.
  const op = isFloat(dtype) && drawn === "prod" && sizeOf(row) > 16 ? "sum" : drawn;
  draft.reduces.push({ stage, dtype });
  return { kind: "reduce", op, dtype, value, body };
}

function randomMap(draft: Draft, over: Over, space: Shape): Stage {
  const body = randomBody(draft, over, space);
  const value = (): number => draft.between(0, body.length - 1);
  const stores = Array.from({ length: draft.between(1, 2) }, () => randomStore(draft, space, body, value()));
  return { kind: "map", over, body, stores };
}

const storeReduced = (draft: Draft, outer: Shape): Stage[] =>
  draft.reduces.map((reduced) => {
    const body: Instruction[] = [{ op: "reduced", ...reduced }];
    return { kind: "map", over: "outer", body, stores: [randomStore(draft, outer, body, 0)] };
  });

/** Stores to a root of its own, sometimes with its axes permuted. */
function randomStore(draft: Draft, space: Shape, body: readonly Instruction[], value: number): Store {
  const strides = new Array<number>(space.length).fill(0);
  let step = 1;
  for (const axis of (draft.chance(25) ? shuffled(draft, space.length) : [...space.keys()]).toReversed()) {
    strides[axis] = step;
    step *= space[axis];
  }
  const index = draft.buffers.filter(({ source }) => source.kind === "root").length;
  const buffer = draft.buffers.push({ dtype: body[value].dtype, size: step, source: { kind: "root", index } }) - 1;
  return { buffer, view: { offset: 0, strides }, value };
}

// ---- bodies ----

/** A body of a few random operations; one over the row often repeats an earlier one, as stages do. */
function randomBody(draft: Draft, over: Over, space: Shape): Instruction[] {
  const { pick, chance, between, rowBodies } = draft;
  const body: Instruction[] = over === "row" && rowBodies.length > 0 && chance(40) ? [...pick(rowBodies)] : [];
  const value = (dtype: DType): number => {
    const known = (): number[] => body.flatMap((step, i) => (step.dtype === dtype ? [i] : []));
    if (known().length === 0 || chance(40)) body.push(...randomSource(draft, over, space, dtype, body.length));
    return pick(known());
  };
  for (let count = between(1, 6); count > 0; count--) {
    const dtype = pick(draft.dtypes);
    const fn = chance(20) ? "cast" : pick(ops[wasmDType(dtype)]);
    const from = fn === "cast" || comparisons.has(fn) ? pick(draft.dtypes) : dtype;
    const first = value(fn === "where" ? "bool" : from);
    const args =
      fn === "cast" || unary.has(fn)
        ? [first]
        : fn === "where"
          ? [first, value(from), value(from)]
          : [first, value(from)];
    body.push({ op: "map", fn, dtype, args });
  }
  if (over === "row") rowBodies.push(body);
  return body;
}

/** Instructions that end in a value of a dtype that no other value goes into; `at` is the position of the first. */
function randomSource(draft: Draft, over: Over, space: Shape, dtype: DType, at: number): Instruction[] {
  const { pick, between, loads, numbers } = draft;
  const three = dtype === "bool" ? 1 : 3;
  const load = (): Instruction[] => {
    const { view, size } = randomView(draft, space);
    const step: Instruction = { op: "load", dtype, buffer: addLeaf(draft, dtype, size), view };
    loads.push({ over, step });
    return [step];
  };
  const gather = (): Instruction[] => {
    const [from, index] = [randomView(draft, space), randomView(draft, space)];
    const [extent, stride] = [between(0, 5), between(0, 3)];
    const buffer = addLeaf(draft, dtype, from.size + Math.max(extent - 1, 0) * stride);
    return [
      { op: "load", dtype: "i32", buffer: addLeaf(draft, "i32", index.size), view: index.view },
      { op: "gather", dtype, buffer, view: from.view, index: at, stride, extent },
    ];
  };
  const sources: Record<string, () => Instruction[]> = {
    load,
    gather,
    again: () => {
      const known = loads.filter((known) => known.over === over && known.step.dtype === dtype);
      return known.length > 0 ? [pick(known).step] : load();
    },
    number: () => [{ op: "number", dtype, slot: numbers.push({ dtype, value: three }) - 1 }],
    constant: () => [{ op: "constant", dtype, value: three }],
    coordinate: () => [{ op: "coordinate", dtype, view: randomView(draft, space).view }],
    inside: () =>
      dtype === "bool"
        ? [{ op: "inside", dtype, bounds: space.map((n) => [between(0, 2), between(0, n)] as const) }]
        : load(),
    reduced: () => {
      const known = draft.reduces.filter((reduced) => reduced.dtype === dtype);
      return known.length > 0 ? [{ op: "reduced", ...pick(known) }] : load();
    },
  };
  const often = ["load", "load", "load", "again", "again", "again", "gather", "gather"];
  return sources[pick([...often, "number", "constant", "coordinate", "inside", "reduced", "reduced"])]();
}

/** A leaf of small integers. */
function addLeaf({ buffers, leaves }: Draft, dtype: DType, size: number): number {
  const [low, count] = dtype === "bool" ? [0, 2] : dtype === "u32" ? [0, 9] : [-4, 11];
  const index = leaves.length;
  const values = Array.from({ length: size }, (_, i) => low + ((i * 7919 + index * 31 + ((i * i) % 13)) % count));
  leaves.push(hostArrayFrom(dtype, values));
  return buffers.push({ dtype, size, source: { kind: "leaf", index } }) - 1;
}

// ---- shapes and views ----

function randomShape({ pick, chance }: Draw, rank: number): number[] {
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) {
    shape.push(chance(3) ? 0 : pick(extents.filter((extent) => extent * sizeOf(shape) <= 150)));
  }
  return shape;
}

/** The axes, often in their own order. */
function shuffled({ chance, between }: Draw, rank: number): number[] {
  const order = Array.from({ length: rank }, (_, i) => i);
  for (let i = 0; i + 1 < rank && chance(40); i++) order.push(...order.splice(between(0, rank - 1), 1));
  return order;
}

/** A view with permuted, gapped, broadcast, reversed and padded axes, and the size of a buffer that holds what it reads. */
function randomView(draw: Draw, space: Shape): { view: View; size: number } {
  const { chance, between } = draw;
  const strides = new Array<number>(space.length).fill(0);
  let step = chance(15) ? 2 : 1;
  for (const axis of shuffled(draw, space.length).toReversed()) {
    if (chance(20)) continue;
    strides[axis] = step;
    step *= Math.max(space[axis], 1) + (chance(10) ? 1 : 0);
  }
  const someOf = (n: number): [number, number] => [between(-1, Math.max(n, 1)), between(0, n + 1)];
  const bounds = chance(25) ? space.map((n): [number, number] => (chance(50) ? someOf(n) : [0, n])) : undefined;
  let offset = between(0, 2);
  let last = offset;
  space.forEach((n, axis) => {
    const [from, to] = bounds ? [Math.max(bounds[axis][0], 0), Math.min(bounds[axis][1], n)] : [0, n];
    const span = Math.max(to - from - 1, 0) * strides[axis];
    last += span;
    if (strides[axis] !== 0 && chance(15)) {
      strides[axis] *= -1;
      offset += span;
    }
    offset -= from * strides[axis];
  });
  return { view: { offset, strides, ...(bounds && { bounds }) }, size: last + 1 };
}
