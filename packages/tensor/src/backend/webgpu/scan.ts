import type { RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { fewPartials, shufflesAcross } from "./fold.ts";
import { serialSize, shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { workgroupSize, type Dispatch } from "./shader.ts";
import { totalOf } from "./totals.ts";
import { elementType, fromElement, rounded, toElement } from "./wgsl.ts";

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
  const total = totalOf(attrs.op, dtype);
  const main = `let row = group * ${serialSize}u + local;
if (row >= ${shader.uint(rows)}) { return; }
let length = ${shader.uint(length)};
let base = ${shader.uint(x.view.offset)} + row * length;
var carry = ${total.identity};
for (var i = 0u; i < length; i++) {
let at = ${attrs.reverse ? "length - 1u - i" : "i"};
let before = carry;
let own = ${total.of(fromElement(dtype, `${from}[base + at]`))};
carry = ${total.combine("carry", "own")};
${to}[row * length + at] = ${toElement(dtype, rounded(dtype, total.value(attrs.exclusive ? "before" : "carry")))};
}`;
  return shader.finish(name, main, Math.ceil(rows / serialSize), serialSize);
}

/**
 * A workgroup to a row: it walks the row in blocks, scans each block in a fixed order and carries the total along. Runs of 2^k invocations,
 * beginning at multiples of that, become one of 2^(k+1) when the second adds the total of the first: within a subgroup by shuffles,
 * then by steps through workgroup memory with a barrier each, and the last few by every invocation for itself. How far each of these goes changes no bit.
 */
function scanTogether({ name, attrs, operands, shape, dtype, epilogue }: Scan, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const inSubgroup = shufflesAcross(lowering.limits, workgroupSize);
  if (inSubgroup > 1) shader.useSubgroups(lowering.limits.subgroups!);
  const type = elementType[dtype];
  const [x] = operands;
  const length = shape[shape.length - 1];
  const rows = sizeOf(shape) / length;
  const from = shader.read(x.buffer, type);
  const to = shader.write(epilogue.stores[0].buffer, type);
  const { type: held, identity, of, combine, value: valueOf } = totalOf(attrs.op, dtype);
  shader.declarations.push(
    `var<workgroup> totals: array<${held}, ${2 * workgroupSize}>;`,
    `fn place(i: u32, length: u32) -> u32 { return ${attrs.reverse ? "length - 1u - i" : "i"}; }`,
    ...runTotals(held, combine),
  );
  const counts = Array.from({ length: each }, (_, c) => c);
  const reads = counts.map(
    (c) => `var x${c} = ${identity};
if (at + ${c}u < length) { x${c} = ${of(fromElement(dtype, `${from}[base + place(at + ${c}u, length)]`))}; }
let t${c} = ${c === 0 ? "x0" : combine(`t${c - 1}`, `x${c}`)};`,
  );
  const writes = counts.map((c) => {
    const value = attrs.exclusive ? (c === 0 ? "before" : combine("before", `t${c - 1}`)) : combine("before", `t${c}`);
    return `if (at + ${c}u < length) { ${to}[row * length + place(at + ${c}u, length)] = ${toElement(dtype, rounded(dtype, valueOf(value)))}; }`;
  });
  const main = `let row = group;
if (row >= ${shader.uint(rows)}) { return; }
let length = ${shader.uint(length)};
let base = ${shader.uint(x.view.offset)} + row * length;
var carry = ${identity};
var side = 0u;
for (var start = 0u; start < length; start += ${each * workgroupSize}u) {
let at = start + local * ${each}u;
${reads.join("\n")}
var total = t${each - 1};
${joinRuns(inSubgroup, combine)}
var before = carry;
if (local > 0u) {
var earlier = totals[side + local - 1u];
let run = (local - 1u) / ${runLength}u;
${Array.from({ length: Math.log2(fewPartials) }, (_, k) => `if ((run & ${1 << k}u) != 0u) { earlier = ${combine(`run_total_${k}(side, (run >> ${k}u) - 1u)`, "earlier")}; }`).join("\n")}
before = ${combine("carry", "earlier")};
}
${writes.join("\n")}
carry = ${combine("carry", `run_total_${Math.log2(fewPartials)}(side, 0u)`)};
side = ${workgroupSize}u - side;
}`;
  return shader.finish(name, main, rows);
}

/** Invocations that make a run at the end of the steps. */
const runLength = workgroupSize / fewPartials;

/** Scans within runs, whose results so far are then in `totals`. Blocks take its sides in turn, so that none begins with a barrier. */
function joinRuns(inSubgroup: number, combine: (a: string, b: string) => string): string {
  const lines: string[] = [];
  const join = (span: number, other: string): string =>
    `let other${span} = ${other};\nif ((local & ${span}u) != 0u) { total = ${combine(`other${span}`, "total")}; }`;
  let span = 1;
  for (; span < inSubgroup; span *= 2)
    lines.push(join(span, `subgroupShuffle(total, (subgroup_lane & ${~(2 * span - 1) >>> 0}u) + ${span - 1}u)`));
  lines.push("totals[side + local] = total;", "workgroupBarrier();");
  for (; span < runLength; span *= 2) {
    lines.push(join(span, `totals[side + (local & ${~(2 * span - 1) >>> 0}u) + ${span - 1}u]`));
    lines.push(`if ((local & ${span}u) != 0u) { totals[side + local] = total; }`, "workgroupBarrier();");
  }
  return lines.join("\n");
}

/** `run_total_k(side, i)` is the total of 2^k runs, of which `i` times as many come before. */
function runTotals(type: string, combine: (a: string, b: string) => string): string[] {
  const signature = (k: number): string => `fn run_total_${k}(side: u32, i: u32) -> ${type}`;
  const first = `${signature(0)} { return totals[side + i * ${runLength}u + ${runLength - 1}u]; }`;
  const more = Array.from({ length: Math.log2(fewPartials) }, (_, k) => {
    const half = (i: string): string => `run_total_${k}(side, ${i})`;
    return `${signature(k + 1)} {
let a = ${half("2u * i")};
let b = ${half("2u * i + 1u")};
return ${combine("a", "b")};
}`;
  });
  return [first, ...more];
}
