import type { RunData } from "./runData.ts";
import { groupBy } from "./groupBy.ts";
import { bestOf, chanceOf, course, heldOutLoss, layerUses, taskLoss, type LayerUse } from "./series.ts";

/** Something that a reader should not have to find. */
export interface Finding {
  readonly text: string;
  /** Whether something is wrong, or only worth knowing. */
  readonly warns: boolean;
}

/** What stands out in what a run noted. */
export function findingsOf({ metrics, config, look }: RunData): Finding[] {
  const layers = [...groupBy(layerUses(metrics), (use) => use.layer)];
  return [
    ...learning(metrics),
    ...(look?.diagnosis ?? []).map(({ ailment, layer, severity, says, remedy }) => ({
      text: `${ailment}${layer === undefined ? "" : ` in layer ${layer}`}: ${says}. ${remedy[0].toUpperCase()}${remedy.slice(1)}.`,
      warns: severity !== "note",
    })),
    ...layers.flatMap(([layer, uses]) => aboutLayer(layer, uses.slice(-Math.ceil(uses.length / 10)), config?.model.k)),
  ];
}

function learning(metrics: RunData["metrics"]): Finding[] {
  const found: Finding[] = [];
  const losses = course(metrics, "", taskLoss);
  const [first, last] = [losses[0], losses[losses.length - 1]];
  if (last.value >= first.value) found.push({ text: "The loss is no lower than it was at the start.", warns: true });
  const best = bestOf(metrics);
  const end = course(metrics, "", heldOutLoss).at(-1);
  if (best && end && end.value > best.value * 1.02)
    found.push({
      text: `The held-out loss was best after step ${best.step} (${best.value.toFixed(3)}) and is ${end.value.toFixed(3)} at the end: the checkpoint of that step was kept.`,
      warns: true,
    });
  const longest = metrics.reduce((most, { gradientNorm = 0 }) => Math.max(most, gradientNorm), 0);
  const usual = metrics.map((record) => record.gradientNorm ?? 0).toSorted((a, b) => a - b)[metrics.length >> 1];
  if (longest > 20 * usual && usual > 0) {
    const { step } = metrics.find((record) => record.gradientNorm === longest)!;
    found.push({
      text: `The gradient of step ${step} was ${(longest / usual).toFixed(0)} times as long as usual.`,
      warns: true,
    });
  }
  return found;
}

function aboutLayer(layer: string, late: readonly LayerUse[], k: number | undefined): Finding[] {
  const found: Finding[] = [];
  const experts = late[0].counts.length;
  const sums = late[0].counts.map((_, e) => late.reduce((sum, use) => sum + use.counts[e], 0));
  const dead = sums.flatMap((n, e) => (n === 0 ? [e] : []));
  if (dead.length > 0)
    found.push({
      text: `In ${layer}, no token went to expert ${dead.join(", ")} of ${experts} at the end.`,
      warns: true,
    });
  const cvSquared = late.reduce((sum, use) => sum + use.cvSquared, 0) / late.length;
  const chance = k === undefined ? undefined : chanceOf(late[0], k);
  if (chance !== undefined && cvSquared > 0.25)
    found.push({
      text: `The load of ${layer} is uneven: CV² ${cvSquared.toFixed(2)}, where chance alone makes ${chance.toFixed(4)}.`,
      warns: true,
    });
  else if (chance !== undefined && chance > 0)
    found.push({
      text: `The load of ${layer} is even: CV² ${cvSquared.toFixed(4)}, where chance alone makes ${chance.toFixed(4)}.`,
      warns: false,
    });
  const entropy = late.reduce((sum, use) => sum + use.entropy, 0) / late.length;
  if (experts > 1 && entropy > 0.98 * Math.log(experts))
    found.push({
      text: `The router of ${layer} hardly tells experts apart: entropy ${entropy.toFixed(2)} of at most ${Math.log(experts).toFixed(2)}.`,
      warns: true,
    });
  return found;
}
