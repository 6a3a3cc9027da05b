import type { DType } from "../../types.ts";
import type { Limits } from "./lower.ts";
import type { Shader } from "./shader.ts";
import { fromElement, toElement } from "./wgsl.ts";

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
  readonly dtype: DType;
}

/** What the values of lower lanes and those of higher ones are together, as expressions. */
type Combine = (a: readonly string[], b: readonly string[]) => readonly string[];

/** What each invocation may as well read for itself: to combine them by steps would cost a barrier each. */
const fewPartials = 8;

/**
 * Statements that fold variables over the lanes of each point; afterwards every lane has the result. Neighbours are combined first, then
 * pairs of neighbours, and so on: within a subgroup by shuffles, then by steps through workgroup memory with a barrier each, and the last few
 * by every lane for itself. How far each of these goes changes no bit.
 *
 * @returns what makes the statements of one fold. All write to two pieces of memory in turn, so that none begins or ends with a barrier: in a
 *   loop there must be one from the last fold to the first.
 */
export function laneFolder(
  shader: Shader,
  { subgroups }: Limits,
  { lanes, columns, alongRow }: Arrangement,
): (variables: readonly Variable[], combine: Combine) => string {
  const size = lanes * columns;
  const step = alongRow ? 1 : columns;
  const filled = subgroups !== undefined && size % subgroups.most === 0;
  const inSubgroup = Math.max(Math.min(lanes, filled ? subgroups.least / step : 1), 1);
  if (inSubgroup > 1) shader.useSubgroups(subgroups!);
  const shuffle = ({ name, dtype }: Variable, call: string, by: string): string =>
    unpack(dtype, `${call}(${pack(dtype, name)}, ${by})`);
  let declared = 0;
  let side = 0;
  /** Of the partial results that are written next or were written last. */
  const partial = (variable: number, place: string): string =>
    `folded${variable}[${place}${side === 0 ? "" : ` + ${size / inSubgroup}u`}]`;

  return (variables, combine) => {
    const lines: string[] = [];
    const set = (values: readonly string[]): string[] => variables.map(({ name }, i) => `${name} = ${values[i]};`);
    for (let span = 1; span < inSubgroup; span *= 2) {
      const others = variables.map((v, i) => `let other${i} = ${shuffle(v, "subgroupShuffleXor", `${span * step}u`)};`);
      const names = variables.map(({ name }) => name);
      const both = combine(
        names,
        names.map((_, i) => `other${i}`),
      ).map((value, i) => `let both${i} = ${value};`);
      lines.push("{", ...others, ...both, ...set(names.map((_, i) => `both${i}`)), "}");
    }
    if (inSubgroup === lanes) {
      // The order of the two may show in the sign of a zero: all take the first lane's result.
      const first = `subgroup_lane & ${~(lanes - 1) >>> 0}u`;
      return [...lines, ...(lanes === 1 ? [] : set(variables.map((v) => shuffle(v, "subgroupShuffle", first))))].join(
        "\n",
      );
    }
    for (; declared < variables.length; declared++)
      shader.declarations.push(`var<workgroup> folded${declared}: array<u32, ${(2 * size) / inSubgroup}>;`);
    const write = (place: string, values: readonly string[]): string =>
      variables.map(({ dtype }, i) => `${partial(i, place)} = ${pack(dtype, values[i])};`).join("\n");
    const read = (place: string): string[] => variables.map(({ dtype }, i) => unpack(dtype, partial(i, place)));
    const combineAll = (places: readonly string[]): Combined => combinePairs(places.map(read), combine);

    const own = alongRow ? `local / ${inSubgroup}u` : `local / ${step * inSubgroup}u * ${step}u + local % ${step}u`;
    const leads = `((local / ${step}u) & ${inSubgroup - 1}u) == 0u`;
    const first = write(
      own,
      variables.map(({ name }) => name),
    );
    lines.push(inSubgroup === 1 ? first : `if (${leads}) {\n${first}\n}`, "workgroupBarrier();");
    let left = lanes / inSubgroup;
    for (; left > fewPartials; left /= 2) {
      const a = alongRow ? "2u * local" : `2u * local - local % ${step}u`;
      const pair = combineAll([a, `${a} + ${step}u`]);
      side = 1 - side;
      const store = write("local", pair.result);
      lines.push(`if (local < ${(columns * left) / 2}u) {`, ...pair.lines, store, "}", "workgroupBarrier();");
    }
    const begin = alongRow ? `local / ${lanes}u * ${left}u` : `local % ${columns}u`;
    const all = combineAll(Array.from({ length: left }, (_, p) => `begin + ${p * step}u`));
    side = 1 - side;
    return [...lines, `{\nlet begin = ${begin};`, ...all.lines, ...set(all.result), "}"].join("\n");
  };
}

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
      const at = lines.push("");
      lines[at - 1] = `let part${at} = ${expression};`;
      return `part${at}`;
    });
  let left = values.map(name);
  while (left.length > 1) left = left.flatMap((value, i) => (i % 2 === 0 ? [name(combine(value, left[i + 1]))] : []));
  return { lines, result: left[0] };
}

/** A value as a word, and back. */
const pack = (dtype: DType, value: string): string =>
  dtype === "f32" || dtype === "i32" ? `bitcast<u32>(${value})` : toElement(dtype, value);
const unpack = (dtype: DType, word: string): string =>
  dtype === "f32" || dtype === "i32" ? `bitcast<${dtype}>(${word})` : fromElement(dtype, word);
