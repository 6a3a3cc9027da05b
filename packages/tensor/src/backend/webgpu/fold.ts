import type { Limits } from "./lower.ts";
import type { Shader } from "./shader.ts";
import { pack, packedType, unpack, wordsOf, type HeldType } from "./totals.ts";

/** How a workgroup is shared out: `columns` points with `lanes` invocations each. */
export interface Arrangement {
  readonly lanes: number;
  readonly columns: number;
  /** Whether neighbouring invocations are lanes of one point; else they are neighbouring points. */
  readonly alongRow: boolean;
}

/** A variable of each invocation. */
interface Variable {
  readonly name: string;
  readonly type: HeldType;
}

/** What the values of lower lanes and those of higher ones are together, as expressions. */
type Combine = (a: readonly string[], b: readonly string[]) => readonly string[];

/** What each invocation may as well read for itself: to combine them by steps would cost a barrier each. A power of 2. */
export const fewPartials = 8;

/** How many neighbours of a workgroup of `size` can exchange values by shuffles, once the shader uses subgroups. */
export const shufflesAcross = ({ subgroups }: Limits, size: number): number =>
  subgroups && size % subgroups.most === 0 ? subgroups.least : 1;

/**
 * Statements that fold variables over the lanes of each point; afterwards every lane has the result. Neighbours are combined first, then
 * pairs of neighbours, and so on: within a subgroup by shuffles, then by steps through workgroup memory with a barrier each, and the last few
 * by every lane for itself. How far each of these goes changes no bit.
 *
 * @returns what makes the statements of one fold. All write to two pieces of memory in turn, so that none begins or ends with a barrier: in a
 *   loop there must be one from the last fold to the first.
 */
export function laneFolder(shader: Shader, limits: Limits, { lanes, columns, alongRow }: Arrangement): Fold {
  const size = lanes * columns;
  const step = alongRow ? 1 : columns;
  const inSubgroup = Math.max(Math.min(lanes, shufflesAcross(limits, size) / step), 1);
  if (inSubgroup > 1) shader.useSubgroups(limits.subgroups!);
  const throughMemory = memoryFolder(shader, { lanes, columns, alongRow }, inSubgroup);
  return (variables, combine) => {
    const shuffle = (call: string, by: string): string[] =>
      variables.map(({ name, type }) => unpack(type, `${call}(${pack(type, name)}, ${by})`));
    const lines: string[] = [];
    for (let span = 1; span < inSubgroup; span *= 2) {
      const others = shuffle("subgroupShuffleXor", `${span * step}u`);
      const both = combinePairs([variables.map(({ name }) => name), others], combine);
      lines.push("{", ...both.lines, ...assign(variables, both.result), "}");
    }
    if (inSubgroup < lanes) return [...lines, ...throughMemory(variables, combine)].join("\n");
    if (lanes === 1) return "";
    // The order of the two may show in the sign of a zero: all take the first lane's result.
    const first = shuffle("subgroupShuffle", `subgroup_lane & ${~(lanes - 1) >>> 0}u`);
    return [...lines, ...assign(variables, first)].join("\n");
  };
}

type Fold = (variables: readonly Variable[], combine: Combine) => string;

/** Folds what every `done` neighbouring lanes have together. */
function memoryFolder(
  shader: Shader,
  { lanes, columns, alongRow }: Arrangement,
  done: number,
): (variables: readonly Variable[], combine: Combine) => string[] {
  const step = alongRow ? 1 : columns;
  const most = (lanes * columns) / done;
  let side = 0;
  return (variables, combine) => {
    const arrays = variables.map(({ type }, i) => {
      const array = `folded${i}_${wordsOf(type)}`;
      const declaration = `var<workgroup> ${array}: array<${packedType(type)}, ${2 * most}>;`;
      if (!shader.declarations.includes(declaration)) shader.declarations.push(declaration);
      return array;
    });
    /** Of the partial results that are written next or were written last. */
    const partial = (i: number, place: string): string => `${arrays[i]}[${place}${side === 0 ? "" : ` + ${most}u`}]`;
    const write = (place: string, values: readonly string[]): string[] =>
      variables.map(({ type }, i) => `${partial(i, place)} = ${pack(type, values[i])};`);
    const combineAt = (places: readonly string[]): Combined => {
      const values = places.map((place) => variables.map(({ type }, i) => unpack(type, partial(i, place))));
      side = 1 - side;
      return combinePairs(values, combine);
    };
    const own = alongRow ? `local / ${done}u` : `local / ${step * done}u * ${step}u + local % ${step}u`;
    const names = variables.map(({ name }) => name);
    const leads = `((local / ${step}u) & ${done - 1}u) == 0u`;
    const lines = [done === 1 ? "{" : `if (${leads}) {`, ...write(own, names), "}", "workgroupBarrier();"];
    let left = lanes / done;
    for (; left > fewPartials; left /= 2) {
      const lower = alongRow ? "2u * local" : `2u * local - local % ${step}u`;
      const both = combineAt([lower, `${lower} + ${step}u`]);
      const store = write("local", both.result);
      lines.push(`if (local < ${(columns * left) / 2}u) {`, ...both.lines, ...store, "}", "workgroupBarrier();");
    }
    const begin = alongRow ? `local / ${lanes}u * ${left}u` : `local % ${columns}u`;
    const all = combineAt(Array.from({ length: left }, (_, p) => `begin + ${p * step}u`));
    return [...lines, `{\nlet begin = ${begin};`, ...all.lines, ...assign(variables, all.result), "}"];
  };
}

const assign = (variables: readonly Variable[], values: readonly string[]): string[] =>
  variables.map(({ name }, i) => `${name} = ${values[i]};`);

/** What values are together: statements, and the names of the result. */
interface Combined {
  readonly lines: readonly string[];
  readonly result: readonly string[];
}

/** Combines neighbours, then pairs of neighbours, and so on. */
function combinePairs(values: readonly (readonly string[])[], combine: Combine): Combined {
  const lines: string[] = [];
  const name = (expressions: readonly string[]): readonly string[] =>
    expressions.map((expression) => {
      const part = `part${lines.length}`;
      lines.push(`let ${part} = ${expression};`);
      return part;
    });
  let left = values.map(name);
  while (left.length > 1) left = left.flatMap((value, i) => (i % 2 === 0 ? [name(combine(value, left[i + 1]))] : []));
  return { lines, result: left[0] };
}
