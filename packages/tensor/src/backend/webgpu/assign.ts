import { bidIncrement, bidsPerRow } from "../../primitives/assign.ts";
import type { RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { elementType } from "./wgsl.ts";

/** Invocations of an auction: as many as mixtures have experts. */
const lanes = 64;

type Assign = Extract<RoutineKernel, { op: "assign" }>;

/**
 * A workgroup to an auction: bid after bid, since each depends on all before it, but its lanes look at the columns, and at the
 * bids that one holds, side by side.
 */
export function lowerAssign({ name, operands, shape, epilogue }: Assign, lowering: Lowering): Lowered {
  const [scores, count] = operands;
  const [rows, columns] = scores.shape.slice(-2);
  if (sizeOf(shape) === 0) return [];
  const auctions = sizeOf(shape) / rows;
  const places = Math.ceil(rows / columns);
  const shader = shaderFor(lowering);
  const type = elementType.i32;
  const from = shader.read(scores.buffer, type);
  const counts = shader.read(count.buffer, type);
  const to = shader.write(epilogue.stores[0].buffer, type);
  const scratch = (count: number): string => shader.write(lowering.scratch(4 * auctions * count), type);
  const [filled, prices, lowest] = [scratch(columns), scratch(columns), scratch(columns)];
  const [holders, amounts] = [scratch(columns * places), scratch(columns * places)];
  shader.declarations.push(
    `var<workgroup> bests: array<i32, ${lanes}>;`,
    `var<workgroup> seconds: array<i32, ${lanes}>;`,
    `var<workgroup> columns_of: array<i32, ${lanes}>;`,
    "var<workgroup> next_row: i32;",
    "var<workgroup> is_full: u32;",
    "const none = -2147483647 - 1;",
  );
  const main = `let rows = ${shader.int(rows)};
let columns = ${shader.int(columns)};
let places = ${shader.int(places)};
let lane = i32(local);
let auction = i32(group);
if (auction >= ${shader.int(auctions)}) { return; }
let own = auction * columns;
if (local == 0u) { next_row = clamp(${counts}[${shader.int(count.view.offset)} + auction], 0, rows); }
let real = workgroupUniformLoad(&next_row);
let least = real / columns;
let extra = real - least * columns;
let limit = real * ${bidsPerRow};
for (var row = real + lane; row < rows; row += ${lanes}) { ${to}[auction * rows + row] = columns; }
for (var e = lane; e < columns; e += ${lanes}) { ${filled}[own + e] = 0; ${prices}[own + e] = 0; ${lowest}[own + e] = 0; }
storageBarrier();
var bids = 0;
for (var first = 0; first < real; first += 1) {
var row = first;
while (row >= 0) {
let spent = bids >= limit;
bids += 1;
var best = none;
var second = none;
var column = 0x7fffffff;
for (var e = lane; e < columns; e += ${lanes}) {
let room = least + i32(e < extra);
if (room == 0 || (spent && ${filled}[own + e] == room)) { continue; }
let value = ${from}[${shader.int(scores.view.offset)} + (auction * rows + row) * columns + e] - ${prices}[own + e];
if (value > best) { second = best; best = value; column = e; } else { second = max(second, value); }
}
bests[local] = best;
seconds[local] = second;
columns_of[local] = column;
workgroupBarrier();
for (var span = ${lanes / 2}u; span > 0u; span >>= 1u) {
if (local < span) {
let other = local + span;
let wins = bests[other] > bests[local] || (bests[other] == bests[local] && columns_of[other] < columns_of[local]);
seconds[local] = max(max(seconds[local], seconds[other]), min(bests[local], bests[other]));
if (wins) { bests[local] = bests[other]; columns_of[local] = columns_of[other]; }
}
workgroupBarrier();
}
let chosen = workgroupUniformLoad(&columns_of[0]);
let room = least + i32(chosen < extra);
let start = (own + chosen) * places;
if (local == 0u) {
let margin = select(bests[0] - seconds[0], 0, seconds[0] == none);
let count = ${filled}[own + chosen];
let full = count == room;
let at = start + select(count, ${lowest}[own + chosen], full);
next_row = select(-1, ${holders}[at], full);
${holders}[at] = row;
${amounts}[at] = ${prices}[own + chosen] + margin + ${shader.int(bidIncrement)};
${to}[auction * rows + row] = chosen;
${filled}[own + chosen] = count + select(1, 0, full);
is_full = select(0u, 1u, full || count + 1 == room);
}
storageBarrier();
row = workgroupUniformLoad(&next_row);
if (workgroupUniformLoad(&is_full) == 1u) {
var amount = 0x7fffffff;
var place = 0x7fffffff;
for (var i = lane; i < room; i += ${lanes}) {
if (${amounts}[start + i] < amount) { amount = ${amounts}[start + i]; place = i; }
}
bests[local] = amount;
columns_of[local] = place;
workgroupBarrier();
for (var span = ${lanes / 2}u; span > 0u; span >>= 1u) {
if (local < span) {
let other = local + span;
if (bests[other] < bests[local] || (bests[other] == bests[local] && columns_of[other] < columns_of[local])) {
bests[local] = bests[other];
columns_of[local] = columns_of[other];
}
}
workgroupBarrier();
}
if (local == 0u) { ${lowest}[own + chosen] = columns_of[0]; ${prices}[own + chosen] = bests[0]; }
storageBarrier();
workgroupBarrier();
}
}
}`;
  return [shader.finish(name, main, auctions, lanes)];
}
