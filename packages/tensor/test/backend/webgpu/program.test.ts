import fc from "fast-check";
import { expect, test } from "vitest";
import { makeProgram, type Constraints, type Program } from "../../../src/backend/webgpu/program.ts";
import type { SubgroupSizes } from "../../../src/backend/webgpu/shader.ts";
import { scatter, softmax, tensor, type Tensor } from "../../../src/index.ts";
import { createScheduler } from "../../../src/schedule/schedule.ts";
import { build, steps } from "../../schedule/randomGraph.ts";

const constraints = { workgroupBytes: 32_768, serial: false, alignment: 256 };

const programOf = (...roots: readonly Tensor[]): Program => programWith({}, roots);

function programWith(options: { readonly maxBuffers?: number }, roots: readonly Tensor[]): Program {
  const { plan } = createScheduler(options)({ roots: roots.map((t) => t.node), donated: new Set() });
  return makeProgram(plan, constraints);
}

const at = (...shape: number[]): Tensor =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), { shape, device: "cpu" });
const codes = (program: Pick<Program, "dispatches">): string[] => program.dispatches.map(({ code }) => code);

test("on a serial adapter no kernel of rows or products meets at a barrier", () => {
  const x = at(70, 90);
  const graph = softmax(x.matmul(at(90, 40)).add(1), -1)
    .sum(0)
    .cumsum(0);
  const { plan } = createScheduler()({ roots: [graph.node], donated: new Set() });
  for (const { code } of makeProgram(plan, { ...constraints, serial: true }).dispatches) {
    expect(code).not.toContain("workgroupBarrier");
    expect(code).not.toContain("var<workgroup>");
  }
});

test("on a serial adapter a kernel of rows computes a dear value once, elsewhere once a walk, and walks a row as often as it must", () => {
  const x = at(70, 90);
  const y = softmax(x, -1);
  const { plan } = createScheduler()({
    roots: [y, y.mul(x.sub(y.mul(x).sum(-1, { keepDims: true })))].map(({ node }) => node),
    donated: new Set(),
  });
  expect(plan.kernels).toHaveLength(1);
  const counts = (serial: boolean): number[] => {
    const [{ code }] = makeProgram(plan, { ...constraints, serial }).dispatches;
    return [/= exp_f32\(/g, /for \(var r = /g].map((pattern) => code.match(pattern)!.length);
  };
  expect(counts(true)).toEqual([1, 4]);
  expect(counts(false)).toEqual([3, 4]);
});

test("on a serial adapter quads pass rows of a product round where subgroups are of a few quads", () => {
  const graph = at(70, 90).matmul(at(90, 40)).add(1);
  const { plan } = createScheduler()({ roots: [graph.node], donated: new Set() });
  const codeWith = (subgroups?: SubgroupSizes): string =>
    makeProgram(plan, { ...constraints, serial: true, subgroups }).dispatches[0].code;
  expect(codeWith({ least: 8, most: 8, control: true })).toContain("quadSwapDiagonal");
  expect(codeWith({ least: 8, most: 8, control: true })).toContain("@workgroup_size(8)");
  for (const sizes of [undefined, { least: 2, most: 8, control: false }, { least: 4, most: 128, control: false }])
    expect(codeWith(sizes)).not.toContain("quadSwap");
});

test("where subgroups are of 32, a fold of 256 lanes and a block of a scan meet at one barrier", () => {
  const barriers = (graph: Tensor, subgroups?: SubgroupSizes): number => {
    const { plan } = createScheduler()({ roots: [graph.node], donated: new Set() });
    const [{ code }] = makeProgram(plan, { ...constraints, subgroups }).dispatches;
    return code.split("workgroupBarrier();").length - 1;
  };
  const folds = 2;
  const fixed = { least: 32, most: 32, control: true };
  expect(barriers(softmax(at(70, 900), -1), fixed)).toBe(folds);
  expect(barriers(softmax(at(70, 900), -1))).toBe(6 * folds);
  expect(barriers(at(70, 900).argMax(1), fixed)).toBe(1);
  expect(barriers(at(70, 900).cumsum(1), fixed)).toBe(1);
  expect(barriers(at(70, 900).cumsum(1))).toBe(6);
  expect(barriers(at(70, 64).sum(1), fixed)).toBe(0);
});

test("a kernel asks for its subgroups' size only where there is but one", () => {
  const codeWith = (subgroups: SubgroupSizes): string => {
    const { plan } = createScheduler()({ roots: [at(70, 900).sum(1).node], donated: new Set() });
    return makeProgram(plan, { ...constraints, subgroups }).dispatches[0].code;
  };
  expect(codeWith({ least: 32, most: 32, control: true })).toContain("@subgroup_size(32)");
  for (const sizes of [
    { least: 32, most: 32, control: false },
    { least: 8, most: 32, control: true },
  ])
    expect(codeWith(sizes)).not.toContain("@subgroup_size(");
});

test("subgroups multiply matrices of f16 whose sizes divide a tile, and nothing else", () => {
  const subgroups = { least: 32, most: 32, control: true };
  const matrices = { m: 16, n: 16, k: 16 };
  const multiply = (x: Tensor, more: Partial<Constraints>): boolean => {
    const { plan } = createScheduler()({ roots: [x.matmul(x).node], donated: new Set() });
    const { dispatches } = makeProgram(plan, { ...constraints, subgroups, matrices, ...more });
    return codes({ dispatches }).some((code) => code.includes("subgroup_matrix_result<f32, 16, 16>"));
  };
  const half = at(80, 80).cast("f16");
  expect(multiply(half, {})).toBe(true);
  expect(multiply(at(80, 80), {})).toBe(false);
  expect(multiply(at(9, 9).cast("f16"), {})).toBe(false);
  expect(multiply(half, { matrices: { m: 16, n: 16, k: 24 } })).toBe(false);
  expect(multiply(half, { subgroups: { ...subgroups, least: 16 } })).toBe(false);
  expect(multiply(half, { workgroupBytes: 16_384 })).toBe(false);
  expect(multiply(half, { serial: true })).toBe(false);
});

test("another shape of the same graph needs no other code", () => {
  const graph = (rows: number, inner: number, columns: number): Program =>
    programOf(
      softmax(at(rows, inner).matmul(at(inner, columns)).add(at(columns)).gelu(), -1),
      at(rows, inner).transpose().cumsum(1),
    );
  expect(codes(graph(36, 44, 52))).toEqual(codes(graph(40, 48, 64)));
});

test("extents, strides and numbers are parameters, not code", () => {
  const program = programOf(at(1234, 77).slice([3, 777], [5, 50]).mul(0.8125).sum(1));
  for (const code of codes(program)) for (const n of ["1234", "774", "0.8125"]) expect(code).not.toContain(n);
  expect(program.parameters.words).toContain(774);
  expect(program.parameters.numbers).toHaveLength(1);
});

test("scratch that is not needed at one time shares memory", () => {
  let x = at(64, 64);
  for (let i = 0; i < 12; i++) x = x.matmul(at(64, 64));
  expect(programOf(x).slots).toHaveLength(2);
});

test("each dispatch binds a buffer once, so that none is both read and written", () => {
  const x = at(40, 40);
  for (const { bindings } of programOf(x.matmul(x).add(x), softmax(x, -1)).dispatches) {
    const written = bindings.filter((b) => b.write).map((b) => b.buffer);
    expect(bindings.filter((b) => written.includes(b.buffer))).toHaveLength(written.length);
  }
});

test("no dispatch binds more buffers than a stage may have, whatever the graph", () => {
  const guaranteed = 8;
  fc.assert(
    fc.property(steps(40), fc.nat(1000), (program, seed) => {
      const { dispatches } = programWith({ maxBuffers: guaranteed }, build(program, seed, "cpu").slice(-6));
      for (const { bindings } of dispatches) expect(bindings.length).toBeLessThanOrEqual(guaranteed);
    }),
    { numRuns: process.env.SWITCHYARD_DEEP ? 2000 : 200 },
  );
});

test("whatever stores an f16 first makes infinite what is beyond its range, since WGSL leaves the conversion open", () => {
  const x = at(32, 32).cast("f16");
  const index = tensor(new Int32Array(32), { dtype: "i32", device: "cpu" }) as Tensor<"i32">;
  const graphs = [x.cumsum(1), x.cumprod(1), scatter(x, index, [4, 32]), x.matmul(x), x.add(x)];
  for (const serial of [true, false])
    for (const graph of graphs) {
      const { plan } = createScheduler()({ roots: [graph.node], donated: new Set() });
      const { code } = makeProgram(plan, { ...constraints, serial }).dispatches.at(-1)!;
      expect(code.split("fn main").at(-1)).toMatch(/(round|bounded)_f16\(/);
    }
});
