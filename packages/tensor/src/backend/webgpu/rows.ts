import type { Instruction, LoopKernel, Stage, Value, View } from "../../schedule/plan.ts";
import { numberValues, operandsOf } from "../../schedule/reuse.ts";
import { sizeOf } from "../../shape.ts";
import { bodyLines, storeLines, type Site } from "./body.ts";
import { laneFolder, type Arrangement } from "./fold.ts";
import { keptValues, type Kept } from "./kept.ts";
import { powerAtLeast, serialSize, shaderFor, type Limits, type Lowering } from "./lower.ts";
import { workgroupSize, type Dispatch, type Shader } from "./shader.ts";
import { splitPosition } from "./space.ts";
import { pack, packedType, totalOf, unpack, type Total } from "./totals.ts";

/** A kernel by rows, or one of the two passes that it is done in. */
export interface RowKernel extends LoopKernel {
  /** The first: each row cut into pieces of one size (the last may be shorter). Of piece p of outer point o the total is at p·points + o. */
  readonly pieces?: { readonly count: number; readonly size: number; readonly buffer: number };
  /** The second: where the totals are that its first stage, the only one along the row, folds in place of what its body computes. */
  readonly totals?: number;
}

/** Enough invocations to fill a large GPU. */
const manyInvocations = 2 ** 16;

/** Neighbouring invocations should read neighbouring elements. Depends on shapes alone, so that results repeat bit for bit. */
export function arrange({ outer, row, stages, totals }: RowKernel, { serial }: Limits): Arrangement {
  if (serial) return { lanes: 1, columns: serialSize, alongRow: true };
  const points = sizeOf(outer);
  const length = sizeOf(row);
  const views = stages.flatMap((s) =>
    s.kind === "reduce" || s.over === "row" ? s.body.flatMap((i) => (i.op === "load" ? [i.view] : [])) : [],
  );
  const isDown = (v: View): boolean => v.strides[outer.length - 1] === 1 && v.strides.at(-1) !== 1;
  const down = outer.length > 0 && (totals !== undefined || views.some(isDown));
  const most = powerAtLeast(Math.ceil(length / 2));
  const wanted = down ? Math.min(powerAtLeast(manyInvocations / points), 32) : workgroupSize;
  const lanes = Math.min(most, wanted, workgroupSize);
  return { lanes, columns: workgroupSize / lanes, alongRow: !down };
}

/** `columns` outer points to a workgroup; each row is folded by `lanes` invocations and then by a tree of fixed order. */
export function lowerRows(kernel: RowKernel, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const { outer, row, stages, pieces, totals } = kernel;
  const arrangement = arrange(kernel, lowering.limits);
  const { lanes, columns, alongRow } = arrangement;
  const points = sizeOf(outer);
  const count = points * (pieces?.count ?? 1);
  const foldLanes = laneFolder(shader, lowering.limits, arrangement);
  const outerSplit = splitPosition(shader, "o", outer, "c");
  const whole = ["let o = point;", "let first = 0u;", `let last = select(0u, ${shader.uint(sizeOf(row))}, present);`];
  const size = shader.uint(pieces?.size ?? 0);
  const cut = [
    `let o = point % ${shader.uint(points)};`,
    `let first = point / ${shader.uint(points)} * ${size};`,
    `let last = select(0u, min(first + ${size}, ${shader.uint(sizeOf(row))}), present);`,
  ];
  const lines = [
    alongRow ? `let lane = local % ${lanes}u;` : `let lane = local / ${columns}u;`,
    alongRow ? `let column = local / ${lanes}u;` : `let column = local % ${columns}u;`,
    `let point = group * ${columns}u + column;`,
    `let present = point < ${shader.uint(count)};`,
    ...(pieces ? cut : whole),
    ...outerSplit.lines,
  ];
  const reduced = (stage: number): string => totalOfStage(stages[stage]).value(heldIn(stage));
  const siteOf = (at: number, coordinates: readonly string[]): Site => ({ coordinates, prefix: `v${at}_`, reduced });
  const walks = walksOf(stages);
  const walkOf = (stage: number): number => walks.findIndex((walk) => walk.some(({ at }) => at === stage));
  const kept = keptValues(shader, kernel, walkOf, lowering);
  for (const walk of walks) {
    const { stage, at } = walk[0];
    if (isOuter(stage)) {
      const site = siteOf(at, outerSplit.names);
      const body = [...bodyLines(shader, stage.body, site), ...storeLines(shader, stage.stores, stage.body, site)];
      lines.push("if (present && lane == 0u) {", ...body, "}");
      continue;
    }
    const split = splitPosition(shader, "r", row, `k${at}_`);
    const sites = new Map(walk.map((step) => [step, siteOf(step.at, [...outerSplit.names, ...split.names])]));
    const { before, each } = totals === undefined ? walkBody(shader, walk, sites, kept, outer.length) : nothing;
    const folds = walk.flatMap((step) => foldOf(shader, kernel, step));
    lines.push(...before, ...walkLines([...split.lines, ...each], folds, lanes));
    for (const { name, total } of folds)
      lines.push(foldLanes([{ name, type: total.type }], ([a], [b]) => [total.combine(a, b)]));
  }
  if (pieces) {
    const { type } = totalOfStage(stages[0]);
    const to = shader.write(pieces.buffer, packedType(type));
    lines.push(`if (present && lane == 0u) { ${to}[point] = ${pack(type, heldIn(0))}; }`);
  }
  return shader.finish(kernel.name, lines.join("\n"), Math.ceil(count / columns), lanes * columns);
}

const totalOfStage = (stage: Stage): Total => {
  if (stage.kind !== "reduce") throw new Error("webgpu: a stage that reduces nothing has no total");
  return totalOf(stage.op, stage.dtype);
};

/** The variable of a stage's total. */
const heldIn = (stage: number): string => `r${stage}`;

/** A stage and its position in the kernel. */
interface Step {
  readonly stage: Stage;
  readonly at: number;
}

type OuterMap = Extract<Stage, { kind: "map" }>;
const isOuter = (stage: Stage): stage is OuterMap => stage.kind === "map" && stage.over === "outer";

/** The stages in order, those together that one walk along the row can do: none needs what another of them reduces to. */
function walksOf(stages: readonly Stage[]): Step[][] {
  const walks: Step[][] = [];
  stages.forEach((stage, at) => {
    const walk = walks.at(-1);
    const joins =
      walk &&
      !isOuter(stage) &&
      !isOuter(walk[0].stage) &&
      stage.body.every((i) => i.op !== "reduced" || i.stage < walk[0].at);
    if (joins) walk.push({ stage, at });
    else walks.push([{ stage, at }]);
  });
  return walks;
}

/** What a stage folds along the row: the total of each point, in a variable of that name. */
interface Fold {
  readonly name: string;
  readonly total: Total;
  readonly own: string;
}

function foldOf(shader: Shader, { outer, totals }: RowKernel, { stage, at }: Step): Fold[] {
  if (stage.kind === "map") return [];
  const total = totalOf(stage.op, stage.dtype);
  const there = (buffer: number): string =>
    unpack(total.type, `${shader.read(buffer, packedType(total.type))}[r * ${shader.uint(sizeOf(outer))} + o]`);
  return [{ name: heldIn(at), total, own: totals === undefined ? total.of(`v${at}_${stage.value}`) : there(totals) }];
}

/** Elements whose sum is a piece, where one invocation folds a row: sums of pieces round less than one long sum. */
const pieceSteps = 64;

/** Each invocation's part of a row: by `lanes` of them in turn, or all of it and by pieces. */
function walkLines(each: readonly string[], folds: readonly Fold[], lanes: number): string[] {
  const variables = (suffix: string): string[] =>
    folds.map(({ name, total }) => `var ${name}${suffix}: ${total.type} = ${total.identity};`);
  const add = (suffix: string, more: (fold: Fold) => string): string[] =>
    folds.map((fold) => `${fold.name}${suffix} = ${fold.total.combine(fold.name + suffix, more(fold))};`);
  if (lanes > 1 || folds.length === 0) {
    const loop = `for (var r = first + lane; r < last; r += ${lanes}u) {`;
    return [...variables(""), loop, ...each, ...add("", ({ own }) => own), "}"];
  }
  return [
    ...variables(""),
    `for (var begin = first; begin < last; begin += ${pieceSteps}u) {`,
    `let end = min(begin + ${pieceSteps}u, last);`,
    ...variables("_part"),
    "for (var r = begin; r < end; r++) {",
    ...each,
    ...add("_part", ({ own }) => own),
    "}",
    ...add("", ({ name }) => `${name}_part`),
    "}",
  ];
}

interface WalkBody {
  readonly before: readonly string[];
  readonly each: readonly string[];
}

const nothing: WalkBody = { before: [], each: [] };

/** The statements of a walk for each point of a row, and before them those that are the same for all. What stages have in common is computed once. */
function walkBody(
  shader: Shader,
  walk: readonly Step[],
  sites: ReadonlyMap<Step, Site>,
  kept: Kept,
  outerRank: number,
): WalkBody {
  const before: string[] = [];
  const each: string[] = [];
  const numbering = new Map<string, number>();
  const names = new Map<number, string>();
  for (const step of walk) {
    const { stage, at } = step;
    const { body } = stage;
    const site = sites.get(step)!;
    const varies: boolean[] = [];
    for (const instruction of body) varies.push(variesAlong(instruction, outerRank, varies));
    const back = body.map(({ dtype }, i) => (varies[i] ? kept.read(at, i, dtype) : undefined));
    const numbers = numberValues(body, numbering);
    const needed = neededOf(stage, (value) => back[value] !== undefined || names.has(numbers[value]));
    bodyLines(shader, body, site).forEach((line, i) => {
      if (!needed.has(i)) return;
      const own = site.prefix + i;
      const known = names.get(numbers[i]);
      const to = varies[i] ? each : before;
      names.set(numbers[i], known ?? own);
      to.push(known === undefined && back[i] === undefined ? line : `let ${own} = ${known ?? back[i]};`);
      const keep = varies[i] && kept.write(at, i, body[i].dtype, own);
      if (keep) to.push(keep);
    });
    if (stage.kind === "map") each.push(...storeLines(shader, stage.stores, body, site));
  }
  return { before, each };
}

/** The values that a stage must name where some are there already. */
function neededOf(stage: Stage, isThere: (value: Value) => boolean): Set<Value> {
  const needed = new Set<Value>();
  const visit = (value: Value): void => {
    if (needed.has(value)) return;
    needed.add(value);
    if (!isThere(value)) operandsOf(stage.body[value]).forEach(visit);
  };
  (stage.kind === "reduce" ? [stage.value] : stage.stores.map(({ value }) => value)).forEach(visit);
  return needed;
}

function variesAlong(step: Instruction, outerRank: number, varies: readonly boolean[]): boolean {
  if (step.op === "map") return step.args.some((value) => varies[value]);
  if (step.op === "inside" || (step.op === "gather" && varies[step.index])) return true;
  return "view" in step && (step.view.bounds !== undefined || step.view.strides.slice(outerRank).some((s) => s !== 0));
}
