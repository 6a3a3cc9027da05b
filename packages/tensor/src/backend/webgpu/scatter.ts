import { gatherExtents, type GatherExtents } from "../../primitives/indexing.ts";
import type { Instruction, LoopKernel, RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf, stridesOf } from "../../shape.ts";
import { isFloat, type DType } from "../../types.ts";
import { laneFolder } from "./fold.ts";
import { lowerLoop } from "./loop.ts";
import { powerAtLeast, shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { workgroupSize, type Dispatch } from "./shader.ts";
import { sortRows } from "./sort.ts";
import { splitPosition } from "./space.ts";
import { totalOf } from "./totals.ts";
import { elementType, fromElement, heldAs, rounded, toElement, zeroOf } from "./wgsl.ts";

type Scatter = Extract<RoutineKernel, { op: "scatter" }>;

/** Reads up to which every place looks through all indices for its own: less than sorting them costs. */
const fewReads = 2 ** 23;

/** Where everything is: the flat extents, the buffers and their offsets. */
interface Task {
  readonly kernel: Scatter;
  readonly extents: GatherExtents;
  /** `[batch, before, n, after]`. */
  readonly space: readonly number[];
  readonly to: number;
}

/** No atomics: distinct indices are stored plainly; others are combined by the place they go to, in a fixed order. */
export function lowerScatter(kernel: Scatter, lowering: Lowering): Lowered {
  const { attrs, operands, epilogue } = kernel;
  const extents = gatherExtents(attrs.shape, operands[1].shape, attrs);
  const { batch, before, n, after, index } = extents;
  const task = { kernel, extents, space: [batch, before, n, after], to: epilogue.stores[0].buffer };
  const size = sizeOf(task.space);
  if (size === 0) return [];
  if (attrs.unique) return storeDistinct(task, lowering);
  if (size * index <= fewReads) return lowerLoop(lookThrough(task), lowering);
  return combineSorted(task, lowering);
}

const combiner = (kernel: Scatter): "sum" | "max" => (kernel.attrs.op === "max" ? "max" : "sum");

/** Updates are numbers: a bool, which can only be set, stays the 0 or 1 that it is stored as. */
const numeric = (dtype: DType): Exclude<DType, "bool"> => (dtype === "bool" ? "u32" : dtype);

/** What a place that no update reaches holds. */
const emptyPlace = ({ attrs, dtype }: Scatter): string =>
  attrs.op === "max" ? totalOf("max", dtype).identity : zeroOf[numeric(dtype)];

function storeDistinct({ kernel, extents, space, to }: Task, lowering: Lowering): Lowered {
  const { operands, dtype, name } = kernel;
  const [updates, index] = operands;
  const type = elementType[dtype];
  const fill = shaderFor(lowering);
  const size = sizeOf(space);
  const fillMain = `let i = group * ${workgroupSize}u + local;
if (i < ${fill.uint(size)}) { ${fill.write(to, type)}[i] = ${toElement(numeric(dtype), emptyPlace(kernel))}; }`;
  const shader = shaderFor(lowering);
  const points = [extents.batch, extents.before, extents.index, extents.after];
  const count = sizeOf(points);
  const { lines, names } = splitPosition(shader, "i", points, "c");
  const [b, p, at, q] = names;
  const n = shader.int(extents.n);
  const after = shader.int(extents.after);
  const main = `let i = group * ${workgroupSize}u + local;
if (i >= ${shader.uint(count)}) { return; }
${lines.join("\n")}
let row = ${shader.read(index.buffer, "i32")}[${shader.int(index.view.offset)} + ${b} * ${shader.int(extents.index)} + ${at}];
if (row < 0 || row >= ${n}) { return; }
let place = ((${b} * ${shader.int(extents.before)} + ${p}) * ${n} + row) * ${after} + ${q};
${shader.write(to, type)}[place] = ${shader.read(updates.buffer, type)}[${shader.uint(updates.view.offset)} + i];`;
  const stores = count === 0 ? [] : [shader.finish(name, main, Math.ceil(count / workgroupSize))];
  return [fill.finish(name, fillMain, Math.ceil(size / workgroupSize)), ...stores];
}

/** A reduction over all updates, in which each place takes those that name it. */
function lookThrough({ kernel, extents, space, to }: Task): LoopKernel {
  const { dtype, name, operands, attrs } = kernel;
  const [updates, index] = operands;
  const outer = [...space];
  const updateStrides = stridesOf([extents.batch, extents.before, extents.index, extents.after]);
  const indexView = { offset: index.view.offset, strides: [extents.index, 0, 0, 0, 1] };
  const updateView = {
    offset: updates.view.offset,
    strides: [updateStrides[0], updateStrides[1], 0, 1, updateStrides[2]],
  };
  const find: Instruction[] = [
    { op: "load", buffer: index.buffer, view: indexView, dtype: "i32" },
    { op: "coordinate", view: { offset: 0, strides: [0, 0, 1, 0, 0] }, dtype: "i32" },
    { op: "map", fn: "eq", args: [0, 1], dtype: "bool" },
  ];
  const store = { buffer: to, view: { offset: 0, strides: stridesOf(outer) } };
  if (attrs.op === "set") {
    const last: Instruction[] = [
      ...find,
      { op: "coordinate", view: { offset: 0, strides: [0, 0, 0, 0, 1] }, dtype: "i32" },
      { op: "constant", value: -1, dtype: "i32" },
      { op: "map", fn: "where", args: [2, 3, 4], dtype: "i32" },
    ];
    const view = { offset: updates.view.offset, strides: updateView.strides.slice(0, 4) };
    const [stride, extent] = [updateStrides[2], extents.index];
    const take: Instruction[] = [
      { op: "reduced", stage: 0, dtype: "i32" },
      { op: "gather", buffer: updates.buffer, view, index: 0, stride, extent, dtype },
    ];
    return loopOf(name, outer, extents.index, "max", last, 5, take, { ...store, value: 1 });
  }
  const mine: Instruction[] = [
    ...find,
    { op: "load", buffer: updates.buffer, view: updateView, dtype },
    { op: "constant", value: attrs.op === "max" ? lowest(dtype) : 0, dtype },
    { op: "map", fn: "where", args: [2, 3, 4], dtype },
  ];
  return loopOf(name, outer, extents.index, combiner(kernel), mine, 5, [{ op: "reduced", stage: 0, dtype }], {
    ...store,
    value: 0,
  });
}

const lowest = (dtype: Scatter["dtype"]): number => (isFloat(dtype) ? -Infinity : dtype === "i32" ? -(2 ** 31) : 0);

function loopOf(
  name: string,
  outer: readonly number[],
  length: number,
  op: "sum" | "max",
  body: readonly Instruction[],
  value: number,
  last: readonly Instruction[],
  store: {
    readonly buffer: number;
    readonly view: { offset: number; strides: readonly number[] };
    readonly value: number;
  },
): LoopKernel {
  return {
    kind: "loop",
    name,
    outer,
    row: [length],
    stages: [
      { kind: "reduce", op, dtype: body[value].dtype, body, value },
      { kind: "map", over: "outer", body: last, stores: [store] },
    ],
  };
}

/** Sorts the indices, finds where each place's updates begin, and folds these in order. */
function combineSorted(task: Task, lowering: Lowering): Lowered {
  const { kernel, extents } = task;
  const { batch, n, index: length } = extents;
  const [, index] = kernel.operands;
  const steps: Dispatch[] = [];
  let order: number | undefined;
  if (!kernel.attrs.sorted) {
    order = lowering.scratch(batch * length * 4);
    const x = { ...index, shape: [batch, length] };
    steps.push(...sortRows({ label: kernel.name, x, descending: false, kept: length, to: order }, lowering));
  }
  const starts = lowering.scratch(batch * (n + 1) * 4);
  return [...steps, findStarts(task, order, starts, lowering), foldSegments(task, order, starts, lowering)];
}

function findStarts(
  { kernel, extents }: Task,
  order: number | undefined,
  starts: number,
  lowering: Lowering,
): Dispatch {
  const shader = shaderFor(lowering);
  const [, index] = kernel.operands;
  const count = extents.batch * (extents.n + 1);
  const array = shader.read(index.buffer, "i32");
  const place = order === undefined ? "middle" : `u32(${shader.read(order, "i32")}[b * length + middle])`;
  const main = `let i = group * ${workgroupSize}u + local;
if (i >= ${shader.uint(count)}) { return; }
let rows = ${shader.uint(extents.n + 1)};
let length = ${shader.uint(extents.index)};
let b = i / rows;
let row = i32(i % rows);
var low = 0u;
var high = length;
while (low < high) {
let middle = (low + high) / 2u;
let at = ${shader.uint(index.view.offset)} + b * length + ${place};
if (${array}[at] < row) { low = middle + 1u; } else { high = middle; }
}
${shader.write(starts, "u32")}[i] = low;`;
  return shader.finish(kernel.name, main, Math.ceil(count / workgroupSize));
}

function foldSegments(
  { kernel, extents, space, to }: Task,
  order: number | undefined,
  starts: number,
  lowering: Lowering,
): Dispatch {
  const { dtype, attrs, operands, name } = kernel;
  const shader = shaderFor(lowering);
  const type = elementType[dtype];
  const size = sizeOf(space);
  const share = Math.ceil(extents.index / Math.max(extents.n, 1) / 4);
  const lanes = attrs.op === "set" || lowering.limits.serial ? 1 : Math.min(powerAtLeast(share), 32);
  const columns = workgroupSize / lanes;
  const foldLanes = laneFolder(shader, lowering.limits, { lanes, columns, alongRow: false });
  const { lines, names } = splitPosition(shader, "i", space, "c");
  const [b, p, row, q] = names;
  const place = order === undefined ? "s" : `u32(${shader.read(order, "i32")}[u32(${b}) * length + s])`;
  const begins = shader.read(starts, "u32");
  const { combine } = totalOf(combiner(kernel), dtype);
  const next = attrs.op === "set" ? "update" : combine("total", "update");
  const first = attrs.op === "set" ? "max(begin, end - min(end, 1u))" : "begin + lane";
  const main = `let lane = local / ${columns}u;
let i = group * ${columns}u + local % ${columns}u;
let present = i < ${shader.uint(size)};
let length = ${shader.uint(extents.index)};
${lines.join("\n")}
var total = ${emptyPlace(kernel)};
if (present) {
let segment = u32(${b}) * ${shader.uint(extents.n + 1)} + u32(${row});
let begin = ${begins}[segment];
let end = ${begins}[segment + 1u];
let base = (u32(${b}) * ${shader.uint(extents.before)} + u32(${p})) * length;
for (var s = ${first}; s < end; s += ${lanes}u) {
let update = ${fromElement(numeric(dtype), `${shader.read(operands[0].buffer, type)}[${shader.uint(operands[0].view.offset)} + (base + ${place}) * ${shader.uint(extents.after)} + u32(${q})]`)};
total = ${next};
}
}
${foldLanes([{ name: "total", type: heldAs(dtype) }], ([a], [b]) => [combine(a, b)])}
if (present && lane == 0u) { ${shader.write(to, type)}[i] = ${toElement(numeric(dtype), rounded(dtype, "total"))}; }`;
  return shader.finish(name, main, Math.ceil(size / columns));
}
