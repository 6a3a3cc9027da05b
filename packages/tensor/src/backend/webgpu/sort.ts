import type { Operand, RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { powerAtLeast, shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { workgroupSize, type Dispatch, type Shader } from "./shader.ts";
import { elementType } from "./wgsl.ts";

type Sort = Extract<RoutineKernel, { op: "argsort" | "topK" }>;

/** Pairs that one workgroup sorts in its own memory. */
const block = 1024;
/** Rows up to this many reads are selected from by one invocation each. */
const fewReads = 2048;

/** Rows to sort and where the order goes: the first `kept` of each row. */
interface Task {
  readonly label: string;
  readonly x: Operand;
  readonly descending: boolean;
  readonly kept: number;
  readonly to: number;
}

export function lowerSort(kernel: Sort, lowering: Lowering): Lowered {
  if (sizeOf(kernel.shape) === 0) return [];
  const task = {
    label: kernel.name,
    x: kernel.operands[0],
    descending: kernel.op === "topK" || kernel.attrs.descending,
    kept: kernel.shape[kernel.shape.length - 1],
    to: kernel.epilogue.stores[0].buffer,
  };
  const length = task.x.shape[task.x.shape.length - 1];
  return task.kept < length && task.kept * length <= fewReads ? [selectFew(task, lowering)] : sortRows(task, lowering);
}

/**
 * Sorts pairs of a key and a position by a bitonic network: since positions differ, that is a stable sort by key. Rows are padded
 * to a power of two with pairs that come last. A row that fits is sorted by one workgroup; a longer one in blocks, which are
 * then merged, widest steps first, through device memory.
 */
export function sortRows(task: Task, lowering: Lowering): Dispatch[] {
  const length = task.x.shape[task.x.shape.length - 1];
  const rows = sizeOf(task.x.shape.slice(0, -1));
  const padded = powerAtLeast(length);
  if (padded <= block) return [sortBlocks(task, { rows, length, padded }, lowering)];
  const pairs = { keys: lowering.scratch(rows * padded * 4), places: lowering.scratch(rows * padded * 4) };
  const all = { rows, length, padded };
  const steps = [sortBlocks(task, all, lowering, pairs)];
  for (let size = 2 * block; size <= padded; size *= 2) {
    steps.push(mergeStep(task.label, all, pairs, { span: size / 2, mirrored: true }, lowering));
    for (let span = size / 4; span >= block; span /= 2)
      steps.push(mergeStep(task.label, all, pairs, { span, mirrored: false }, lowering));
    steps.push(mergeBlocks(task.label, all, pairs, lowering));
  }
  return [...steps, copyOut(task, all, pairs, lowering)];
}

interface Rows {
  readonly rows: number;
  readonly length: number;
  readonly padded: number;
}

interface Pairs {
  readonly keys: number;
  readonly places: number;
}

/** Compares two pairs by name of their position and swaps them if they are out of order. */
const exchange = (keys: string, places: string): string => `let key_a = ${keys}[a];
let key_b = ${keys}[b];
let place_a = ${places}[a];
let place_b = ${places}[b];
if (key_a > key_b || (key_a == key_b && place_a > place_b)) {
${keys}[a] = key_b;
${keys}[b] = key_a;
${places}[a] = place_b;
${places}[b] = place_a;
}`;

/** The two positions that pair number `pair` compares: `span` apart, or mirrored about the middle of a run of `2·span`. */
const positions = (mirrored: string): string => `let within = pair % span;
let begin = pair / span * 2u * span;
let a = begin + within;
let b = begin + select(span + within, 2u * span - 1u - within, ${mirrored});`;

/** Statements for all pairs of a block. */
const blockStep = (
  mirrored: string,
): string => `for (var pair = local; pair < ${block / 2}u; pair += ${workgroupSize}u) {
${positions(mirrored)}
${exchange("keys", "places")}
}
workgroupBarrier();`;

function declareBlock(shader: Shader): void {
  shader.declarations.push(
    `var<workgroup> keys: array<u32, ${block}>;`,
    `var<workgroup> places: array<u32, ${block}>;`,
  );
}

/** Sorts each block; without `pairs` a block holds whole rows, whose order is stored at once. */
function sortBlocks(task: Task, { rows, length, padded }: Rows, lowering: Lowering, pairs?: Pairs): Dispatch {
  const { x, label, descending, kept, to } = task;
  const shader = shaderFor(lowering);
  declareBlock(shader);
  const from = shader.read(x.buffer, elementType[x.dtype]);
  const store = pairs
    ? `${shader.write(pairs.keys, "u32")}[position] = keys[i];\n${shader.write(pairs.places, "u32")}[position] = places[i];`
    : `if (column < ${shader.uint(kept)}) { ${shader.write(to, "i32")}[row * ${shader.uint(kept)} + column] = i32(places[i]); }`;
  const each = (inside: string): string => `for (var i = local; i < ${block}u; i += ${workgroupSize}u) {
let position = group * ${block}u + i;
let row = position / padded;
let column = position % padded;
${inside}
}
workgroupBarrier();`;
  const main = `let rows = ${shader.uint(rows)};
let length = ${shader.uint(length)};
let padded = ${shader.uint(padded)};
let base = ${shader.uint(x.view.offset)};
${each(`keys[i] = 0xffffffffu;
places[i] = column;
if (row < rows && column < length) { keys[i] = order_${x.dtype}(${from}[base + row * length + column], ${descending}); }`)}
for (var size = 2u; size <= min(padded, ${block}u); size <<= 1u) {
for (var span = size >> 1u; span > 0u; span >>= 1u) {
${blockStep("span * 2u == size")}
}
}
${each(`if (row < rows) {\n${store}\n}`)}`;
  return shader.finish(label, main, Math.ceil((rows * padded) / block));
}

/** One step of the network through device memory. */
function mergeStep(
  label: string,
  { rows, padded }: Rows,
  pairs: Pairs,
  { span, mirrored }: { readonly span: number; readonly mirrored: boolean },
  lowering: Lowering,
): Dispatch {
  const shader = shaderFor(lowering);
  const count = (rows * padded) / 2;
  const [keys, places] = [shader.write(pairs.keys, "u32"), shader.write(pairs.places, "u32")];
  const main = `let pair = group * ${workgroupSize}u + local;
if (pair >= ${shader.uint(count)}) { return; }
let span = ${shader.uint(span)};
${positions(String(mirrored))}
${exchange(keys, places)}`;
  return shader.finish(label, main, Math.ceil(count / workgroupSize));
}

/** The steps of the network that stay within blocks. */
function mergeBlocks(label: string, { rows, padded }: Rows, pairs: Pairs, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  declareBlock(shader);
  const [keys, places] = [shader.write(pairs.keys, "u32"), shader.write(pairs.places, "u32")];
  const each = (inside: string): string =>
    `for (var i = local; i < ${block}u; i += ${workgroupSize}u) {\n${inside}\n}\nworkgroupBarrier();`;
  const main = `let base = group * ${block}u;
if (base >= ${shader.uint(rows * padded)}) { return; }
${each(`keys[i] = ${keys}[base + i];\nplaces[i] = ${places}[base + i];`)}
for (var span = ${block / 2}u; span > 0u; span >>= 1u) {
${blockStep("false")}
}
${each(`${keys}[base + i] = keys[i];\n${places}[base + i] = places[i];`)}`;
  return shader.finish(label, main, (rows * padded) / block);
}

function copyOut(task: Task, { rows, padded }: Rows, pairs: Pairs, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const count = rows * task.kept;
  const main = `let i = group * ${workgroupSize}u + local;
if (i >= ${shader.uint(count)}) { return; }
let kept = ${shader.uint(task.kept)};
${shader.write(task.to, "i32")}[i] = i32(${shader.read(pairs.places, "u32")}[i / kept * ${shader.uint(padded)} + i % kept]);`;
  return shader.finish(task.label, main, Math.ceil(count / workgroupSize));
}

/** One invocation to a row: finds the first of the order, then the first after that, `kept` times. */
function selectFew({ label, x, descending, kept, to }: Task, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const rows = sizeOf(x.shape.slice(0, -1));
  const from = shader.read(x.buffer, elementType[x.dtype]);
  const main = `let row = group * ${workgroupSize}u + local;
if (row >= ${shader.uint(rows)}) { return; }
let length = ${shader.uint(x.shape[x.shape.length - 1])};
let kept = ${shader.uint(kept)};
let base = ${shader.uint(x.view.offset)} + row * length;
var key = 0u;
var place = 0u;
for (var k = 0u; k < kept; k++) {
var best = 0xffffffffu;
var best_place = 0xffffffffu;
for (var i = 0u; i < length; i++) {
let next = order_${x.dtype}(${from}[base + i], ${descending});
let later = k == 0u || next > key || (next == key && i > place);
if (later && (next < best || (next == best && i < best_place))) { best = next; best_place = i; }
}
key = best;
place = best_place;
${shader.write(to, "i32")}[row * kept + k] = i32(place);
}`;
  return shader.finish(label, main, Math.ceil(rows / workgroupSize));
}
