import { bidIncrement, bidsPerRow } from "../../primitives/assign.ts";
import type { RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { laneFolder } from "./fold.ts";
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
    "var<workgroup> next_row: i32;",
    "var<workgroup> is_full: u32;",
    "const none = -2147483647 - 1;",
  );
  // In a loop: what follows each has barriers before the loop begins again.
  const foldLanes = laneFolder(shader, lowering.limits, { lanes, columns: 1, alongRow: true });
  const variables = (...names: string[]) => names.map((name) => ({ name, type: "i32" }) as const);
  const foldBids = foldLanes(variables("best", "second", "column"), betterBid);
  const foldHeld = foldLanes(variables("amount", "place"), lowerBid);
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
${foldBids}
let chosen = column;
let room = least + i32(chosen < extra);
let start = (own + chosen) * places;
if (local == 0u) {
let margin = select(best - second, 0, second == none);
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
${foldHeld}
if (local == 0u) { ${lowest}[own + chosen] = place; ${prices}[own + chosen] = amount; }
storageBarrier();
workgroupBarrier();
}
}
}`;
  return [shader.finish(name, main, auctions, lanes)];
}

type Values = readonly string[];

/** The best bid, the first of equals, and the second best. */
const betterBid = ([best, second, column]: Values, [other, otherSecond, otherColumn]: Values): string[] => [
  `max(${best}, ${other})`,
  `max(max(${second}, ${otherSecond}), min(${best}, ${other}))`,
  `select(${column}, ${otherColumn}, ${other} > ${best} || (${other} == ${best} && ${otherColumn} < ${column}))`,
];

/** The lowest bid that is held, the first of equals. */
const lowerBid = ([amount, place]: Values, [other, otherPlace]: Values): string[] => [
  `min(${amount}, ${other})`,
  `select(${place}, ${otherPlace}, ${other} < ${amount} || (${other} == ${amount} && ${otherPlace} < ${place}))`,
];
