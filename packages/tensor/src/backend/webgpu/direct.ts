import type { Shader } from "./shader.ts";
import { accumulator, loadsAlong, placeWithin, type Panel, type Tile } from "./tile.ts";
import { elementType } from "./wgsl.ts";

/** Steps of k to a turn: as many as are read at once. */
const turn = 4;

/**
 * The inner loop of a product without workgroup memory: each invocation reads what it multiplies, four elements at a time. On an adapter whose
 * barriers are dear and whose memory is the CPU's, with its caches, this is the faster way. Rows and columns beyond the matrix are read as its
 * last, and what comes of them is not stored; so nothing in the loop asks where it is.
 */
export function directLines(shader: Shader, tile: Tile, lhs: Panel, rhs: Panel): string {
  const rows = side(shader, lhs, { name: "lhs", first: "row0", mine: "down", extent: tile.rows, each: tile.high });
  const columns = side(shader, rhs, {
    name: "rhs",
    first: "column0",
    mine: "right",
    extent: tile.columns,
    each: tile.wide,
  });
  const isFloat = lhs.operand.dtype === "f32";
  const product = (a: Reading, b: Reading, i: number, j: number): string => {
    const [x, y, c] = [a.one(i), b.four(j), accumulator(i, j)];
    return isFloat ? `${c} = fma(vec4(${x}), ${y}, ${c});` : `${c} += ${x} * ${y};`;
  };
  const multiply = (a: Reading, b: Reading): string =>
    Array.from({ length: tile.high }, (_, i) =>
      Array.from({ length: tile.wide / 4 }, (__, j) => product(a, b, i, j)).join(" "),
    ).join("\n");
  const [a, b] = [rows.whole(), columns.whole()];
  const [c, d] = [rows.step(), columns.step()];
  return `${rows.addresses}
${columns.addresses}
var k = k_first;
for (; k + ${turn}u <= k_limit; k += ${turn}u) {
${a.load}
${b.load}
${Array.from({ length: turn }, (_, q) => multiply(a.at(q), b.at(q))).join("\n")}
}
for (; k < k_limit; k++) {
${c.load}
${d.load}
${multiply(c, d)}
}`;
}

/** Names of what has been read for one step of k: an element, or four neighbours along the extent. */
interface Reading {
  readonly one: (i: number) => string;
  readonly four: (j: number) => string;
}

interface Side {
  readonly name: string;
  readonly first: string;
  readonly mine: string;
  readonly extent: number;
  readonly each: number;
}

/** How an invocation reads its rows or columns of an operand: where they begin, and what it reads at a whole turn or one step of k. */
function side(shader: Shader, panel: Panel, { name, first, mine, extent, each }: Side) {
  const { along, inner, extentLimit, base, vector, lookup } = panel;
  const isAlong = loadsAlong(panel);
  const type = elementType[panel.operand.dtype];
  const array = shader.read(panel.operand.buffer, vector ? `vec4<${type}>` : type);
  const times = (value: string, stride: number): string => (stride === 1 ? value : `${value} * ${shader.int(stride)}`);
  const all = Array.from({ length: each }, (_, i) => i);
  const groups = all.slice(0, each / 4);
  const addresses = all.map((i) => {
    const place = `min(${first} + ${placeWithin(i, mine, extent, each)}, ${extentLimit} - 1u)`;
    if (lookup?.axis !== "extent") return `let ${name}_at${i} = ${base} + ${times(`i32(${place})`, along)};`;
    return `let ${name}_row${i} = ${lookup.array}[${place}];
let ${name}_is${i} = ${name}_row${i} >= 0 && ${name}_row${i} < ${lookup.limit};
let ${name}_at${i} = ${base} + ${times(`select(0, ${name}_row${i}, ${name}_is${i})`, along)};`;
  });
  /** Defines how far along k a step lies; where rows are chosen along it, also whether that one is there. */
  const distance = (to: string, k: string): string =>
    lookup?.axis === "inner"
      ? `let ${to}_row = ${lookup.array}[${k}];
let ${to}_is = ${to}_row >= 0 && ${to}_row < ${lookup.limit};
let ${to} = ${times(`select(0, ${to}_row, ${to}_is)`, inner)};`
      : `let ${to} = ${times(`i32(${k})`, inner)};`;
  const masked = (value: string, zero: string, is: string | undefined): string =>
    is === undefined ? value : `select(${zero}, ${value}, ${is})`;
  const isThere = (i: number, step: string): string | undefined =>
    lookup && (lookup.axis === "extent" ? `${name}_is${i}` : `${step}_is`);
  const element = (i: number, step: string): string => {
    const at = `${name}_at${i} + ${step}`;
    return vector ? `${array}[(${at}) >> 2u][(${at}) & 3]` : `${array}[${at}]`;
  };
  const fourAlong = (j: number, step: string): string => {
    const value = vector
      ? `${array}[(${name}_at${4 * j} + ${step}) >> 2u]`
      : `vec4(${[0, 1, 2, 3].map((c) => element(4 * j + c, step)).join(", ")})`;
    return masked(value, `vec4<${type}>()`, isThere(4 * j, step));
  };
  const fourInner = (i: number, steps: readonly string[]): string => {
    const value = vector
      ? `${array}[(${name}_at${i} + ${steps[0]}) >> 2u]`
      : `vec4(${steps.map((step) => element(i, step)).join(", ")})`;
    return masked(value, `vec4<${type}>()`, isThere(i, steps[0]));
  };
  const gathered =
    (one: Reading["one"]): Reading["four"] =>
    (j) =>
      `vec4(${[0, 1, 2, 3].map((c) => one(4 * j + c)).join(", ")})`;
  const alongReading = (q: number): Reading => ({
    one: (i) => `${name}${i >> 2}_${q}[${i & 3}]`,
    four: (j) => `${name}${j}_${q}`,
  });
  const steps = Array.from({ length: turn }, (_, q) => `${name}_k${q}`);
  const stepsLines = steps.map((step, q) => distance(step, `(k + ${q}u)`));
  return {
    addresses: addresses.join("\n"),
    whole(): { readonly load: string; readonly at: (q: number) => Reading } {
      if (isAlong) {
        const lines = steps.flatMap((step, q) => groups.map((j) => `let ${name}${j}_${q} = ${fourAlong(j, step)};`));
        return { load: [...stepsLines, ...lines].join("\n"), at: alongReading };
      }
      const lines = all.map((i) => `let ${name}${i} = ${fourInner(i, steps)};`);
      const at = (q: number): Reading => {
        const one = (i: number): string => `${name}${i}[${q}]`;
        return { one, four: gathered(one) };
      };
      return { load: [...stepsLines, ...lines].join("\n"), at };
    },
    step(): Reading & { readonly load: string } {
      if (isAlong) {
        const lines = groups.map((j) => `let ${name}${j}_0 = ${fourAlong(j, steps[0])};`);
        return { load: [distance(steps[0], "k"), ...lines].join("\n"), ...alongReading(0) };
      }
      const lines = all.map(
        (i) => `let ${name}${i} = ${masked(element(i, steps[0]), `${type}()`, isThere(i, steps[0]))};`,
      );
      const one = (i: number): string => `${name}${i}`;
      return { load: [distance(steps[0], "k"), ...lines].join("\n"), one, four: gathered(one) };
    },
  };
}
