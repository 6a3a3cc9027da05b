import type { Operand, RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { shufflesAcross } from "./fold.ts";
import { powerAtLeast, shaderFor, type Limits, type Lowered, type Lowering } from "./lower.ts";
import { workgroupSize, type Dispatch, type Shader } from "./shader.ts";
import { elementType, orderKey } from "./wgsl.ts";

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

/** Of the pairs that an invocation holds, which are neighbours in its block. */
const held = Array.from({ length: block / workgroupSize }, (_, e) => e);
const eachHeld = (lines: (e: number) => string): string => held.map(lines).join("\n");

/** The position in its block of a pair that is held. */
const positionOf = (e: number): string => `(${held.length}u * local + ${e}u)`;

/**
 * Statements of one step of the network within blocks: each pair meets that at its position ^ `mask`, and the lower of the two, the one without
 * the bit `span`, becomes the one that comes first. They meet in registers, within a subgroup by shuffles, or in workgroup memory, of which
 * steps take two sides in turn (`side`, first 0): one barrier each.
 */
function blockStep(shader: Shader, limits: Limits): string {
  const across = shufflesAcross(limits, workgroupSize);
  if (across > 1) shader.useSubgroups(limits.subgroups!);
  shader.declarations.push(
    `var<workgroup> keys: array<u32, ${2 * block}>;`,
    `var<workgroup> places: array<u32, ${2 * block}>;`,
    `fn first(a: u32, place_a: u32, b: u32, place_b: u32) -> bool { return a < b || (a == b && place_a < place_b); }`,
  );
  const [last, of] = [held.length - 1, ["key", "place"]];
  const meet = (other: (name: string, e: number) => string): string =>
    eachHeld((e) => of.map((name) => `met_${name}${e} = ${other(name, e)};`).join(" "));
  const shuffled = (name: string, e: number): string =>
    `subgroupShuffleXor(select(${name}${e}, ${name}${last - e}, (mask & 1u) == 1u), mask / ${held.length}u)`;
  const shuffling = across === 1 ? "" : `} else if (span >= ${held.length}u) {\n${meet(shuffled)}\n`;
  return `${eachHeld((e) => `var met_key${e} = 0u; var met_place${e} = 0u;`)}
if (span >= ${held.length * across}u) {
${eachHeld((e) => of.map((name) => `${name}s[side + ${positionOf(e)}] = ${name}${e};`).join(" "))}
workgroupBarrier();
${meet((name, e) => `${name}s[side + (${positionOf(e)} ^ mask)]`)}
side = ${block}u - side;
${shuffling}} else {
${meet((name, e) => `select(select(${name}${e ^ 1}, ${name}${e ^ 2}, mask == 2u), ${name}${e ^ 3}, mask == 3u)`)}
}
${eachHeld((e) => {
  const [met, mine] = [`met_key${e}, met_place${e}`, `key${e}, place${e}`];
  const take = `key${e} = met_key${e}; place${e} = met_place${e};`;
  return `if (first(${met}, ${mine}) == ((${positionOf(e)} & span) == 0u)) { ${take} }`;
})}`;
}

/** Sorts each block; without `pairs` a block holds whole rows, whose order is stored at once. */
function sortBlocks(task: Task, { rows, length, padded }: Rows, lowering: Lowering, pairs?: Pairs): Dispatch {
  const { x, label, descending, kept, to } = task;
  const shader = shaderFor(lowering);
  const step = blockStep(shader, lowering.limits);
  const from = shader.read(x.buffer, elementType[x.dtype]);
  const store = (e: number): string =>
    pairs
      ? `${shader.write(pairs.keys, "u32")}[position] = key${e};\n${shader.write(pairs.places, "u32")}[position] = place${e};`
      : `if (column < ${shader.uint(kept)}) { ${shader.write(to, "i32")}[row * ${shader.uint(kept)} + column] = i32(place${e}); }`;
  const at = (e: number, inside: string): string => `{
let position = group * ${block}u + ${positionOf(e)};
let row = position / padded;
let column = position % padded;
${inside}
}`;
  const load = (e: number): string => `place${e} = column;
if (row < rows && column < length) { key${e} = ${orderKey(x.dtype, `${from}[base + row * length + column]`, descending)}; }`;
  const main = `let rows = ${shader.uint(rows)};
let length = ${shader.uint(length)};
let padded = ${shader.uint(padded)};
let base = ${shader.uint(x.view.offset)};
${eachHeld((e) => `var key${e} = 0xffffffffu; var place${e} = 0u;\n${at(e, load(e))}`)}
var side = 0u;
for (var size = 2u; size <= min(padded, ${block}u); size <<= 1u) {
var mask = size - 1u;
for (var span = size >> 1u; span > 0u; span >>= 1u) {
${step}
mask = span >> 1u;
}
}
${eachHeld((e) => at(e, `if (row < rows) {\n${store(e)}\n}`))}`;
  return shader.finish(label, main, Math.ceil((rows * padded) / block));
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
  const step = blockStep(shader, lowering.limits);
  const [keys, places] = [shader.write(pairs.keys, "u32"), shader.write(pairs.places, "u32")];
  const main = `let base = group * ${block}u;
if (base >= ${shader.uint(rows * padded)}) { return; }
${eachHeld((e) => `var key${e} = ${keys}[base + ${positionOf(e)}]; var place${e} = ${places}[base + ${positionOf(e)}];`)}
var side = 0u;
for (var span = ${block / 2}u; span > 0u; span >>= 1u) {
let mask = span;
${step}
}
${eachHeld((e) => `${keys}[base + ${positionOf(e)}] = key${e}; ${places}[base + ${positionOf(e)}] = place${e};`)}`;
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
let next = ${orderKey(x.dtype, `${from}[base + i]`, descending)};
let later = k == 0u || next > key || (next == key && i > place);
if (later && (next < best || (next == best && i < best_place))) { best = next; best_place = i; }
}
key = best;
place = best_place;
${shader.write(to, "i32")}[row * kept + k] = i32(place);
}`;
  return shader.finish(label, main, Math.ceil(rows / workgroupSize));
}
