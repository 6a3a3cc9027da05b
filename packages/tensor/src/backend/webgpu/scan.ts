import type { RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { serialSize, shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { workgroupSize, type Dispatch } from "./shader.ts";
import { combineExpression, elementType, identityExpression } from "./wgsl.ts";

type Scan = Extract<RoutineKernel, { op: "scan" }>;

/** Elements that each invocation takes at a time. */
const each = 4;

export function lowerScan(kernel: Scan, lowering: Lowering): Lowered {
  if (sizeOf(kernel.shape) === 0) return [];
  return [lowering.limits.serial ? scanSerially(kernel, lowering) : scanTogether(kernel, lowering)];
}

/** An invocation to a row. */
function scanSerially({ name, attrs, operands, shape, dtype, epilogue }: Scan, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const type = elementType[dtype];
  const [x] = operands;
  const length = shape[shape.length - 1];
  const rows = sizeOf(shape) / length;
  const from = shader.read(x.buffer, type);
  const to = shader.write(epilogue.stores[0].buffer, type);
  const main = `let row = group * ${serialSize}u + local;
if (row >= ${shader.uint(rows)}) { return; }
let length = ${shader.uint(length)};
let base = ${shader.uint(x.view.offset)} + row * length;
var carry = ${identityExpression(attrs.op, dtype)};
for (var i = 0u; i < length; i++) {
let at = ${attrs.reverse ? "length - 1u - i" : "i"};
let before = carry;
let value = ${from}[base + at];
carry = ${combineExpression(attrs.op, dtype, "carry", "value")};
${to}[row * length + at] = ${attrs.exclusive ? "before" : "carry"};
}`;
  return shader.finish(name, main, Math.ceil(rows / serialSize), serialSize);
}

/** A workgroup to a row: it walks the row in blocks, scans each block in a fixed order and carries the total along. */
function scanTogether({ name, attrs, operands, shape, dtype, epilogue }: Scan, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const type = elementType[dtype];
  const [x] = operands;
  const length = shape[shape.length - 1];
  const rows = sizeOf(shape) / length;
  const from = shader.read(x.buffer, type);
  const to = shader.write(epilogue.stores[0].buffer, type);
  const combine = (a: string, b: string): string => combineExpression(attrs.op, dtype, a, b);
  const identity = identityExpression(attrs.op, dtype);
  shader.declarations.push(
    `var<workgroup> totals: array<${type}, ${2 * workgroupSize}>;`,
    `fn place(i: u32, length: u32) -> u32 { return ${attrs.reverse ? "length - 1u - i" : "i"}; }`,
  );
  const counts = Array.from({ length: each }, (_, c) => c);
  const reads = counts.map(
    (c) => `var x${c} = ${identity};
if (at + ${c}u < length) { x${c} = ${from}[base + place(at + ${c}u, length)]; }
let t${c} = ${c === 0 ? "x0" : combine(`t${c - 1}`, `x${c}`)};`,
  );
  const writes = counts.map((c) => {
    const value = attrs.exclusive ? (c === 0 ? "before" : combine("before", `t${c - 1}`)) : combine("before", `t${c}`);
    return `if (at + ${c}u < length) { ${to}[row * length + place(at + ${c}u, length)] = ${value}; }`;
  });
  const main = `let row = group;
if (row >= ${shader.uint(rows)}) { return; }
let length = ${shader.uint(length)};
let base = ${shader.uint(x.view.offset)} + row * length;
var carry = ${identity};
for (var start = 0u; start < length; start += ${each * workgroupSize}u) {
let at = start + local * ${each}u;
${reads.join("\n")}
totals[local] = t${each - 1};
workgroupBarrier();
var side = 0u;
for (var span = 1u; span < ${workgroupSize}u; span <<= 1u) {
var value = totals[side + local];
if (local >= span) { value = ${combine("totals[side + local - span]", "value")}; }
side = ${workgroupSize}u - side;
totals[side + local] = value;
workgroupBarrier();
}
var before = carry;
if (local > 0u) { before = ${combine("carry", "totals[side + local - 1u]")}; }
${writes.join("\n")}
carry = ${combine("carry", `totals[side + ${workgroupSize - 1}u]`)};
workgroupBarrier();
}`;
  return shader.finish(name, main, rows);
}
