import type { Operand } from "../../schedule/plan.ts";
import { isFloat, type DType } from "../../types.ts";
import type { Matrices } from "./matrices.ts";
import { elementType, fromElement, fromElements, toElement, valueType } from "./wgsl.ts";
import type { Shader, SubgroupSizes } from "./shader.ts";

/** How a matrix product is cut: a workgroup makes `rows`×`columns` of the result, an invocation `high`×`wide` of that, `depth` of k at a time. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly high: number;
  readonly wide: number;
  readonly depth: number;
  /** How many steps of k are written out in the code, which must divide `depth`; the rest is a loop. */
  readonly unroll: number;
  /**
   * Without workgroup memory: each invocation reads all it multiplies, or the four of a quad have the same rows, of which each reads a quarter
   * and passes it round.
   */
  readonly direct?: "alone" | "quad";
  /** Set if subgroups multiply. */
  readonly matrices?: Matrices;
}

export const invocationsOf = ({ rows, columns, high, wide }: Tile): number => (rows / high) * (columns / wide);

/** Words to a row of a panel in workgroup memory, in vec4s; one more than needed spares bank conflicts. */
const pitch = (extent: number): number => extent / 4 + 1;

/** The same in scalars, which is what subgroups load matrices from. */
export const scalarPitch = (extent: number): number => extent + 8;

/** Both panels, twice: one is filled while the other is read. */
export const workgroupBytes = ({ rows, columns, depth }: Tile): number =>
  2 * depth * 16 * (pitch(rows) + pitch(columns));

/** From largest to smallest; each workgroup's panels fit the least memory a device may have, 16 KiB, but for rounding. */
export const tiles = [
  { rows: 128, columns: 128, high: 8, wide: 8, depth: 8, unroll: 8 },
  { rows: 64, columns: 64, high: 4, wide: 4, depth: 16, unroll: 4 },
  { rows: 32, columns: 32, high: 4, wide: 4, depth: 8, unroll: 2 },
  { rows: 16, columns: 64, high: 4, wide: 4, depth: 8, unroll: 2 },
] as const satisfies readonly Tile[];

/** Rows of a product that a tall tile is worth compiling for, which takes twice as long. */
const manyRows = 256;

/**
 * Of a serial adapter: few invocations to a workgroup, much to each. Where there are subgroups it is one of them, its quads below each other.
 * A subgroup that is one quad computes with registers of 128 bits, too few for the accumulators of any tile: so the tile may as well be tall,
 * and reads a third less.
 *
 * @param m rows of a product, or of one on the average.
 */
export function serialTile(subgroups: SubgroupSizes | undefined, m: number): Tile {
  if (!subgroups || subgroups.least < 4 || subgroups.most > 16)
    return { rows: 32, columns: 32, high: 8, wide: 8, depth: 4, unroll: 4, direct: "alone" };
  const high = subgroups.most === 4 && m >= manyRows ? 32 : 16;
  return { rows: (high * subgroups.most) / 4, columns: 32, high, wide: 8, depth: 4, unroll: 4, direct: "quad" };
}

/** One operand of a product seen as a matrix `[extent, k]`: `along` steps through rows of lhs or columns of rhs. */
export interface Panel {
  readonly operand: Operand;
  /** Strides of the extent (m or n) and of k. */
  readonly along: number;
  readonly inner: number;
  /** Names of u32 limits: how many rows or columns there are, and where k ends. */
  readonly extentLimit: string;
  readonly innerLimit: string;
  /** Name of the i32 address of the first element. */
  readonly base: string;
  /** The extent (m or n), if it or k is contiguous and all else a multiple of 4: elements come four at a time. */
  readonly vector: boolean;
  /** An index vector that replaces the position along the extent, or along k. */
  readonly lookup?: { readonly array: string; readonly axis: "extent" | "inner"; readonly limit: string };
}

/** Whether neighbours along the extent, rather than along k, are loaded together. */
export const loadsAlong = ({ along, inner, lookup }: Panel): boolean =>
  lookup ? lookup.axis === "inner" : along === 1 || (inner !== 1 && along < inner);

/**
 * Statements that bring a panel in: `load` reads the piece that begins at `k` (a u32 name) into variables, `store` puts these
 * into half `half` (0 or 1, a u32 name) of workgroup memory, laid out `[k][extent]`.
 */
export function panelLines(
  shader: Shader,
  panel: Panel,
  {
    name,
    extent,
    depth,
    first,
    invocations,
    scalars,
  }: { name: string; extent: number; depth: number; first: string; invocations: number; scalars: boolean },
): { load: string; store: string; declare: string } {
  const { dtype, buffer } = panel.operand;
  const type = valueType[dtype];
  const along = loadsAlong(panel);
  const array = shader.read(buffer, panel.vector ? `vec4<${elementType[dtype]}>` : elementType[dtype]);
  shader.declarations.push(
    scalars
      ? `var<workgroup> ${name}: array<${elementType[dtype]}, ${2 * depth * scalarPitch(extent)}>;`
      : `var<workgroup> ${name}: array<vec4<${type}>, ${2 * depth * pitch(extent)}>;`,
  );
  const count = Math.ceil((extent * depth) / 4 / invocations);
  const across = (along ? extent : depth) / 4;
  const declare: string[] = [];
  const load: string[] = [];
  const store: string[] = [];
  for (let i = 0; i < count; i++) {
    const [value, slot, p, q] = ["v", "s", "p", "q"].map((letter) => `${name}_${letter}${i}`);
    declare.push(
      `var ${value} = vec4<${type}>();`,
      `let ${slot} = local + ${i * invocations}u;`,
      `let ${p} = ${along ? `${slot} % ${across}u * 4u` : `${slot} / ${across}u`};`,
      `let ${q} = ${along ? `${slot} / ${across}u` : `${slot} % ${across}u * 4u`};`,
    );
    load.push(fourLines(shader, panel, array, value, `(${first} + ${p})`, `(k + ${q})`, along));
    const guard = (extent * depth) / 4 < (i + 1) * invocations ? `if (${slot} < ${(extent * depth) / 4}u) ` : "";
    if (scalars) {
      const at = `half * ${depth * scalarPitch(extent)}u + ${q} * ${scalarPitch(extent)}u + ${p}`;
      const element = (c: number): string =>
        `${name}[${at} + ${along ? c : c * scalarPitch(extent)}u] = ${toElement(dtype, `${value}[${c}]`)};`;
      store.push(`${guard}{ ${[0, 1, 2, 3].map(element).join(" ")} }`);
      continue;
    }
    const row = `half * ${depth * pitch(extent)}u + ${q} * ${pitch(extent)}u + ${p} / 4u`;
    store.push(
      along
        ? `${guard}{ ${name}[${row}] = ${value}; }`
        : `${guard}{ ${[0, 1, 2, 3].map((c) => `${name}[${row} + ${c * pitch(extent)}u][${p} & 3u] = ${value}[${c}];`).join(" ")} }`,
    );
  }
  return { load: load.join("\n"), store: store.join("\n"), declare: declare.join("\n") };
}

/** Reads four neighbours, zeros outside. */
function fourLines(
  shader: Shader,
  panel: Panel,
  array: string,
  value: string,
  p: string,
  k: string,
  along: boolean,
): string {
  const { base, extentLimit, innerLimit, lookup, vector } = panel;
  const { dtype } = panel.operand;
  const address = (row: string, column: string): string => {
    const rowPart = panel.along === 1 ? row : `${row} * ${shader.int(panel.along)}`;
    const columnPart = panel.inner === 1 ? column : `${column} * ${shader.int(panel.inner)}`;
    return `${base} + ${rowPart} + ${columnPart}`;
  };
  const at = (row: string, column: string): string => {
    const plain = { row: `i32(${row})`, column: `i32(${column})` };
    if (!lookup) return address(plain.row, plain.column);
    return lookup.axis === "extent" ? address("chosen", plain.column) : address(plain.row, "chosen");
  };
  const choose = lookup && `let chosen = ${lookup.array}[${lookup.axis === "extent" ? p : k}];\n`;
  const inside = lookup ? `chosen >= 0 && chosen < ${lookup.limit}` : "";
  const guarded = (lines: string): string => (lookup ? `${choose}if (${inside}) {\n${lines}\n}` : lines);
  if (vector) {
    return `${value} = vec4<${valueType[dtype]}>();
if (${p} < ${extentLimit} && ${k} < ${innerLimit}) {
${guarded(`${value} = ${fromElements(dtype, `${array}[(${at(p, k)}) >> 2u]`)};`)}
}`;
  }
  const [fixed, fixedLimit, moving, movingLimit] = along
    ? [k, innerLimit, p, extentLimit]
    : [p, extentLimit, k, innerLimit];
  const each = [0, 1, 2, 3].map((c) => {
    const place = along ? at(`(${p} + ${c}u)`, k) : at(p, `(${k} + ${c}u)`);
    return `if (${moving} + ${c}u < ${movingLimit}) { ${value}[${c}] = ${fromElement(dtype, `${array}[${place}]`)}; }`;
  });
  return `${value} = vec4<${valueType[dtype]}>();
if (${fixed} < ${fixedLimit}) {
${guarded(each.join("\n"))}
}`;
}

/** Names of the accumulators: row `i` of an invocation's part, four columns from `4·j`. */
export const accumulator = (i: number, j: number): string => `c${i}_${j}`;

/** Multiplies what is in half `half` of the two panels, k by k. */
export function multiplyLines(tile: Tile, dtype: DType): string {
  const { depth, unroll } = tile;
  const steps = Array.from({ length: unroll }, (_, k) => stepLines(tile, dtype, k)).join("\n");
  const starts = `var lhs_at = half * ${depth * pitch(tile.rows)}u + down;
var rhs_at = half * ${depth * pitch(tile.columns)}u + right;`;
  if (unroll === depth) return `${starts}\n${steps}`;
  return `${starts}
for (var step = 0u; step < ${depth / unroll}u; step++) {
${steps}
lhs_at += ${unroll * pitch(tile.rows)}u;
rhs_at += ${unroll * pitch(tile.columns)}u;
}`;
}

function stepLines({ rows, columns, high, wide }: Tile, dtype: DType, k: number): string {
  const a = Array.from({ length: high / 4 }, (_, i) => `lhs_panel[lhs_at + ${k * pitch(rows) + (i * rows) / high}u]`);
  const b = Array.from(
    { length: wide / 4 },
    (_, j) => `rhs_panel[rhs_at + ${k * pitch(columns) + (j * columns) / wide}u]`,
  );
  const product = (i: number, j: number): string => {
    const [x, y, c] = [`a${i >> 2}[${i & 3}]`, `b${j}`, accumulator(i, j)];
    return isFloat(dtype) ? `${c} = fma(vec4(${x}), ${y}, ${c});` : `${c} += ${x} * ${y};`;
  };
  return [
    "{",
    ...a.map((value, i) => `let a${i} = ${value};`),
    ...b.map((value, j) => `let b${j} = ${value};`),
    ...Array.from({ length: high }, (_, i) => Array.from({ length: wide / 4 }, (__, j) => product(i, j)).join(" ")),
    "}",
  ].join("\n");
}

/** The row, within the tile, of an invocation's `i`th; in a quad it is the one that the invocation which lies `i` away has as its first. */
export const rowWithin = ({ rows, high, direct }: Tile, i: number): string =>
  direct === "quad"
    ? `${placeWithin(i & ~3, "down", rows, high)} + (${i & 3}u ^ right)`
    : placeWithin(i, "down", rows, high);

/** The row or column, within the tile, of an invocation's `i`th: its parts are interleaved four by four. */
export const placeWithin = (i: number, mine: string, extent: number, each: number): string =>
  `${mine} * 4u + ${(i >> 2) * (extent / (each / 4)) + (i & 3)}u`;
