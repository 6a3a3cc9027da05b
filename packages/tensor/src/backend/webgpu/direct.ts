import type { Shader } from "./shader.ts";
import { isFloat } from "../../types.ts";
import { accumulator, loadsAlong, placeWithin, rowWithin, type Panel, type Tile } from "./tile.ts";
import { elementType, fromElement, fromElements, valueType } from "./wgsl.ts";

/** Steps of k to a turn: as many as are read at once. */
const turn = 4;

/**
 * The inner loop of a product without workgroup memory: each invocation reads what it multiplies, four elements at a time. On an adapter whose
 * barriers are dear and whose memory is the CPU's, with its caches, this is the faster way. Rows and columns beyond the matrix are read as its
 * last, and what comes of them is not stored; so nothing in the loop asks where it is.
 */
export function directLines(shader: Shader, tile: Tile, lhs: Panel, rhs: Panel): string {
  const rows = rowsOf(shader, tile, lhs);
  const columns = readsOf(shader, rhs, {
    name: "rhs",
    place: (j) => `column0 + ${placeWithin(j, "right", tile.columns, tile.wide)}`,
    each: tile.wide,
  });
  const fused = isFloat(lhs.operand.dtype);
  const product = (a: Reading, b: Reading, i: number, j: number): string => {
    const [x, y, c] = [a.one(i), b.four(j), accumulator(i, j)];
    return fused ? `${c} = fma(vec4(${x}), ${y}, ${c});` : `${c} += ${x} * ${y};`;
  };
  const multiply = (a: Reading, b: Reading): string =>
    Array.from({ length: tile.high }, (_, i) =>
      Array.from({ length: tile.wide / 4 }, (__, j) => product(a, b, i, j)).join(" "),
    ).join("\n");
  const whole = `${rows.whole.load}
${columns.whole.load}
${Array.from({ length: turn }, (_, q) => multiply(rows.whole.at(q), columns.whole.at(q))).join("\n")}`;
  // What is read four steps of k at a time is whole turns long.
  const rest = [lhs, rhs].some((panel) => panel.vector && !loadsAlong(panel))
    ? ""
    : `for (; k < k_limit; k++) {
${rows.step.load}
${columns.step.load}
${multiply(rows.step, columns.step)}
}`;
  return `${rows.addresses}
${columns.addresses}
var k = k_first;
for (; k + ${turn}u <= k_limit; k += ${turn}u) {
${whole}
}
${rest}`;
}

/** Names of what has been read for one step of k: an element, or four neighbours along the extent. */
interface Reading {
  readonly one: (i: number) => string;
  readonly four: (j: number) => string;
}

interface Side {
  readonly name: string;
  /** Where the `i`th of its rows or columns lies. */
  readonly place: (i: number) => string;
  readonly each: number;
}

/** How an invocation reads its rows or columns of an operand: at a whole turn, and at one step of k. */
interface Reads {
  /** Where its rows or columns begin: before the loop. */
  readonly addresses: string;
  readonly whole: { readonly load: string; readonly at: (q: number) => Reading };
  readonly step: Reading & { readonly load: string };
}

function rowsOf(shader: Shader, tile: Tile, lhs: Panel): Reads {
  const place = (i: number): string => `row0 + ${rowWithin(tile, i)}`;
  if (tile.direct !== "quad") return readsOf(shader, lhs, { name: "lhs", place, each: tile.high });
  const side = { name: "own", place: (i: number) => place(4 * i), each: tile.high / 4 };
  const along = loadsAlong(lhs);
  const panel = along ? { ...lhs, vector: false } : lhs;
  const addresses = addressLines(shader, panel, side);
  const reader = readerOf(shader, panel, side);
  return { addresses, ...passRound((along ? byElement : alongInner)(reader, side), side.each) };
}

function readsOf(shader: Shader, panel: Panel, side: Side): Reads {
  const addresses = addressLines(shader, panel, side);
  return { addresses, ...(loadsAlong(panel) ? alongExtent : alongInner)(readerOf(shader, panel, side), side) };
}

const addressLines = (shader: Shader, panel: Panel, side: Side): string =>
  Array.from({ length: side.each }, (_, i) => addressLine(shader, panel, side, i)).join("\n");

const times = (shader: Shader, value: string, stride: number): string =>
  stride === 1 ? value : `${value} * ${shader.int(stride)}`;

/** Where row or column `i` begins, in elements or in fours of them; where rows are chosen, also whether the one that is chosen is there. */
function addressLine(shader: Shader, panel: Panel, { name, place: placeOf }: Side, i: number): string {
  const { along, extentLimit, base, lookup, vector } = panel;
  const place = `min(${placeOf(i)}, ${extentLimit} - 1u)`;
  const begin = (row: string): string => {
    const element = `${base} + ${times(shader, row, along)}`;
    return `let ${name}_at${i} = ${vector ? `(${element}) >> 2u` : element};`;
  };
  if (lookup?.axis !== "extent") return begin(`i32(${place})`);
  return `let ${name}_row${i} = ${lookup.array}[${place}];
let ${name}_is${i} = ${name}_row${i} >= 0 && ${name}_row${i} < ${lookup.limit};
${begin(`select(0, ${name}_row${i}, ${name}_is${i})`)}`;
}

/** What reads an operand, given names of steps that `step` defines. */
interface Reader {
  /** Defines how far along k a step lies; where rows are chosen along k, also whether that one is there. */
  readonly step: (to: string, k: string) => string;
  readonly element: (i: number, step: string) => string;
  /** Four neighbours along the extent, from `i`. */
  readonly neighbours: (i: number, step: string) => string;
  /** One row or column at four steps. */
  readonly stretch: (i: number, steps: readonly string[]) => string;
}

function readerOf(shader: Shader, panel: Panel, { name }: Side): Reader {
  const { inner, vector, lookup } = panel;
  const { dtype, buffer } = panel.operand;
  const type = valueType[dtype];
  const array = shader.read(buffer, vector ? `vec4<${elementType[dtype]}>` : elementType[dtype]);
  const orZero = (value: string, zero: string, i: number, step: string): string =>
    lookup ? `select(${zero}, ${value}, ${lookup.axis === "extent" ? `${name}_is${i}` : `${step}_is`})` : value;
  const at = (i: number, step: string): string => `${array}[${name}_at${i} + ${step}]`;
  const plain = (i: number, step: string): string => fromElement(dtype, at(i, step));
  const four = (i: number, step: string, elements: readonly string[]): string => {
    const values = vector ? fromElements(dtype, at(i, step)) : `vec4(${elements.join(", ")})`;
    return orZero(values, `vec4<${type}>()`, i, step);
  };
  const steps = (k: string): string => {
    if (!vector) return times(shader, k, inner);
    return loadsAlong(panel) ? times(shader, k, inner / 4) : `(${k} >> 2u)`;
  };
  return {
    step: (to, k) =>
      lookup?.axis === "inner"
        ? `let ${to}_row = ${lookup.array}[${k}];
let ${to}_is = ${to}_row >= 0 && ${to}_row < ${lookup.limit};
let ${to} = ${steps(`select(0, ${to}_row, ${to}_is)`)};`
        : `let ${to} = ${steps(`i32(${k})`)};`,
    element: (i, step) => orZero(plain(i, step), `${type}()`, i, step),
    neighbours: (i, step) =>
      four(
        i,
        step,
        [0, 1, 2, 3].map((c) => plain(i + c, step)),
      ),
    stretch: (i, steps) =>
      four(
        i,
        steps[0],
        steps.map((step) => plain(i, step)),
      ),
  };
}

/** Neighbours along the extent lie together. */
function alongExtent(reader: Reader, { name, each }: Side): Omit<Reads, "addresses"> {
  const load = (q: number, k: string): string => {
    const groups = Array.from({ length: each / 4 }, (_, j) => j);
    const reads = groups.map((j) => `let ${name}${j}_${q} = ${reader.neighbours(4 * j, `${name}_k${q}`)};`);
    return [reader.step(`${name}_k${q}`, k), ...reads].join("\n");
  };
  const at = (q: number): Reading => ({
    one: (i) => `${name}${i >> 2}_${q}[${i & 3}]`,
    four: (j) => `${name}${j}_${q}`,
  });
  const whole = Array.from({ length: turn }, (_, q) => load(q, `(k + ${q}u)`)).join("\n");
  return { whole: { load: whole, at }, step: { load: load(0, "k"), ...at(0) } };
}

/** Each row by itself at each step. */
function byElement(reader: Reader, { name, each }: Side): Omit<Reads, "addresses"> {
  const all = Array.from({ length: each }, (_, i) => i);
  const load = (q: number, k: string): string => {
    const reads = all.map((i) => `let ${name}${i}_${q} = ${reader.element(i, `${name}_k${q}`)};`);
    return [reader.step(`${name}_k${q}`, k), ...reads].join("\n");
  };
  const at = (q: number): Reading => gathered((i) => `${name}${i}_${q}`);
  const whole = Array.from({ length: turn }, (_, q) => load(q, `(k + ${q}u)`)).join("\n");
  return { whole: { load: whole, at }, step: { load: load(0, "k"), ...at(0) } };
}

/** Each invocation's own rows, and then those of the others in its quad: row `i` is that of the invocation whose number differs in the bits of `i`. */
function passRound({ whole, step }: Omit<Reads, "addresses">, each: number): Omit<Reads, "addresses"> {
  const name = (i: number, q: string | number): string => `lhs${i}_${q}`;
  const lines = (own: Reading, q: string | number): string =>
    Array.from({ length: 4 * each }, (_, i) => {
      const call = ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"][i & 3];
      return `let ${name(i, q)} = ${call}(${own.one(i >> 2)});`;
    }).join("\n");
  const at = (q: string | number): Reading => gathered((i) => name(i, q));
  const turns = Array.from({ length: turn }, (_, q) => lines(whole.at(q), q));
  return {
    whole: { load: [whole.load, ...turns].join("\n"), at },
    step: { load: `${step.load}\n${lines(step, "step")}`, ...at("step") },
  };
}

const gathered = (one: Reading["one"]): Reading => ({
  one,
  four: (j) => `vec4(${[0, 1, 2, 3].map((c) => one(4 * j + c)).join(", ")})`,
});

/** Neighbours along k lie together. */
function alongInner(reader: Reader, { name, each }: Side): Omit<Reads, "addresses"> {
  const all = Array.from({ length: each }, (_, i) => i);
  const steps = Array.from({ length: turn }, (_, q) => `${name}_k${q}`);
  const whole = [
    ...steps.map((step, q) => reader.step(step, `(k + ${q}u)`)),
    ...all.map((i) => `let ${name}${i} = ${reader.stretch(i, steps)};`),
  ];
  const single = [reader.step(steps[0], "k"), ...all.map((i) => `let ${name}${i} = ${reader.element(i, steps[0])};`)];
  return {
    whole: { load: whole.join("\n"), at: (q) => gathered((i) => `${name}${i}[${q}]`) },
    step: { load: single.join("\n"), ...gathered((i) => `${name}${i}`) },
  };
}
