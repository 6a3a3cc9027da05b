import type { Instruction, Stage, Value } from "../../schedule/plan.ts";
import { numberValues, operandsOf } from "../../schedule/reuse.ts";
import { bodyLine, storeLines, type Site } from "./body.ts";
import type { Kept } from "./kept.ts";
import type { Shader } from "./shader.ts";
import { isOuter } from "./space.ts";

/** A stage and its position in the kernel. */
export interface Step {
  readonly stage: Stage;
  readonly at: number;
}

/** The stages in order, those together that one walk along the row can do: none needs what another of them reduces to. */
export function walksOf(stages: readonly Stage[]): Step[][] {
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

interface WalkBody {
  /** What is the same for all points of a row: before the walk. */
  readonly before: readonly string[];
  /** At each point. */
  readonly each: readonly string[];
}

/** The statements of a walk. What stages have in common is computed once. */
export function walkBody(
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
    const isBack = (value: Value): boolean => varies[value] && kept.has(at, value);
    const numbers = numberValues(body, numbering);
    const needed = neededOf(stage, (value) => isBack(value) || names.has(numbers[value]));
    body.forEach(({ dtype }, value) => {
      if (!needed.has(value)) return;
      const own = site.prefix + value;
      const known = names.get(numbers[value]) ?? (isBack(value) ? kept.read(at, value, dtype, site.fours) : undefined);
      const to = varies[value] ? each : before;
      if (!names.has(numbers[value])) names.set(numbers[value], own);
      to.push(known === undefined ? bodyLine(shader, body, value, site) : `let ${own} = ${known};`);
      const keep = varies[value] && kept.write(at, value, dtype, own, site.fours);
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
