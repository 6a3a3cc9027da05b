// Measures the WebGPU backend on whatever adapter there is. Needs no package but `webgpu`:
//   node --conditions=source packages/tensor/test/backend/webgpu/measure.ts [check] [speed] [tiles]
import {
  groupedMatmul,
  init,
  memory,
  realize,
  shutdown,
  softmax,
  topK,
  argsort,
  tensor,
  devices,
  type Tensor,
} from "../../../src/index.ts";
import { matmulDispatch } from "../../../src/backend/webgpu/matmul.ts";
import type { RoutineKernel } from "../../../src/schedule/plan.ts";
import type { Tile } from "../../../src/backend/webgpu/tile.ts";
import { computeStage, usage } from "../../../src/backend/webgpu/gpu.ts";
import { data, difference, largeCases } from "./largeCases.ts";

const wanted = process.argv.slice(2);
const asked = (what: string): boolean => wanted.length === 0 || wanted.includes(what);

async function check(): Promise<number> {
  let failures = 0;
  for (const { name, make, tolerance } of largeCases) {
    const begun = performance.now();
    let fault: string | undefined;
    try {
      const got = await make("webgpu").data();
      const took = performance.now() - begun;
      fault = difference(got, await make("cpu").data(), tolerance);
      fault ??= difference(await make("webgpu").data(), got, 0)?.replace(/^/, "a second run differs: ");
      console.log(`${fault ? "not ok" : "ok    "} ${name} (${took.toFixed(0)} ms)${fault ? `: ${fault}` : ""}`);
    } catch (error) {
      fault = (error as Error).message;
      console.log(`not ok ${name}: ${fault.slice(0, 2000)}`);
    }
    if (fault) failures++;
  }
  return failures;
}

const on = (seed: number, ...shape: number[]): Tensor =>
  tensor(
    data(
      seed,
      shape.reduce((a, b) => a * b, 1),
    ),
    { shape, device: "webgpu" },
  );

/** Milliseconds for one `step`, the fastest of several rounds of a chain of them in one submission. */
async function chained(x: Tensor, steps: number, step: (x: Tensor) => Tensor): Promise<number> {
  let fastest = Infinity;
  for (let round = 0; round < 5; round++) {
    const begun = performance.now();
    let y = x;
    for (let i = 0; i < steps; i++) y = step(y);
    await realize(y);
    y.dispose();
    fastest = Math.min(fastest, performance.now() - begun);
  }
  return fastest / steps;
}

const line = (name: string, ms: number, amount: string): void =>
  console.log(`${name.padEnd(44)} ${ms.toFixed(3).padStart(9)} ms  ${amount}`);
const tera = (operations: number, ms: number): string => `${(operations / ms / 1e9).toFixed(2)} TFLOP/s`;
const giga = (bytes: number, ms: number): string => `${(bytes / ms / 1e6).toFixed(0)} GB/s`;

async function speed(small: boolean): Promise<void> {
  const shrink = small ? 64 : 1;
  for (const n of [512, 1024, 2048, 4096, 8192].map((size) => size / shrink)) {
    const w = await realize(on(1, n, n).mul(1 / n));
    const x = await realize(on(2, n, n));
    const ms = await chained(x, n > 2048 ? 4 : 16, (y) => y.matmul(w));
    line(`matmul ${n}`, ms, tera(2 * n ** 3, ms));
    const transposed = await chained(x, n > 2048 ? 4 : 16, (y) => y.matmul(w.transpose()));
    line(`matmul ${n}, rhs transposed`, transposed, tera(2 * n ** 3, transposed));
  }
  const [rows, columns] = [8192 / shrink, 8192 / shrink];
  const wide = await realize(on(3, rows, columns));
  const bytes = 8 * rows * columns;
  const shape = `${rows}x${columns}`;
  const tiny = await realize(on(4, 16));
  line("the least a realize takes", await chained(tiny, 1, (y) => y.add(1)), "");
  const bandwidth = async (name: string, moved: number, step: (y: Tensor) => Tensor): Promise<void> => {
    const ms = await chained(wide, 1, step);
    line(`${name} ${shape}`, ms, giga(moved, ms));
  };
  await bandwidth("scale", bytes, (y) => y.mul(1.0001));
  await bandwidth("gelu", bytes, (y) => y.gelu());
  await bandwidth("softmax", bytes, (y) => softmax(y, -1));
  await bandwidth("sum of rows", bytes / 2, (y) => y.sum(1));
  await bandwidth("sum of columns", bytes / 2, (y) => y.sum(0));
  await bandwidth("sum of everything", bytes / 2, (y) => y.sum());
  await bandwidth("transpose", bytes, (y) => y.transpose().add(1));
  await grouped(shrink);
  const logits = await realize(on(5, 65_536 / shrink, 64));
  const top = await chained(logits, 1, (y) => topK(y, 8).indices);
  line(`topK 8 of 64, ${65_536 / shrink} rows`, top, "");
  const keys = await realize(
    on(6, 524_288 / shrink)
      .mul(32)
      .cast("i32"),
  );
  const sort = await chained(keys, 1, (y) => argsort(y));
  line(`argsort ${524_288 / shrink}`, sort, "");
}

async function grouped(shrink: number): Promise<void> {
  const [m, k, n] = [32_768 / shrink, 1024 / shrink, 1024 / shrink];
  for (const groups of [8, 64]) {
    const x = await realize(on(1, m, k));
    const w = await realize(on(2, groups, k, n).mul(1 / k));
    const ends = Int32Array.from(
      { length: groups + 1 },
      (_, i) => Math.round((m * i) / groups) + (i % groups === 0 ? 0 : (i % 7) - 3),
    );
    const offsets = await realize(tensor(ends, { device: "webgpu" }) as Tensor<"i32">);
    const ms = await chained(x, 4, (y) => groupedMatmul(y, w, offsets));
    line(`groupedMatmul [${m},${k}]·[${groups},${k},${n}]`, ms, tera(2 * m * k * n, ms));
    const back = await chained(x, 1, (y) => groupedMatmul(y, x, offsets, { mode: "contract" }));
    line(`groupedMatmul contract, ${groups} groups`, back, tera(2 * m * k * k, back));
  }
}

// ---- tiles of the matrix product, one by one, with and without Dawn's own bounds checks ----

const candidates: readonly Tile[] = [
  { rows: 128, columns: 128, high: 8, wide: 8, depth: 8, unroll: 8 },
  { rows: 128, columns: 128, high: 8, wide: 8, depth: 8, unroll: 1 },
  { rows: 128, columns: 128, high: 8, wide: 8, depth: 16, unroll: 16 },
  { rows: 128, columns: 128, high: 8, wide: 8, depth: 16, unroll: 4 },
  { rows: 128, columns: 128, high: 16, wide: 8, depth: 8, unroll: 8 },
  { rows: 256, columns: 128, high: 16, wide: 8, depth: 8, unroll: 8 },
  { rows: 128, columns: 256, high: 8, wide: 16, depth: 8, unroll: 8 },
  { rows: 128, columns: 64, high: 8, wide: 8, depth: 16, unroll: 16 },
  { rows: 128, columns: 64, high: 8, wide: 4, depth: 8, unroll: 8 },
  { rows: 64, columns: 64, high: 8, wide: 8, depth: 16, unroll: 16 },
  { rows: 64, columns: 64, high: 4, wide: 4, depth: 16, unroll: 16 },
  { rows: 64, columns: 64, high: 4, wide: 4, depth: 16, unroll: 4 },
  { rows: 32, columns: 32, high: 4, wide: 4, depth: 8, unroll: 2 },
];

function squareProduct(n: number): Extract<RoutineKernel, { op: "matmul" }> {
  const view = { offset: 0, strides: [n, 1] };
  const operand = (buffer: number) => ({ buffer, dtype: "f32", shape: [n, n], view }) as const;
  const epilogue = { body: [{ op: "result", dtype: "f32" }], stores: [{ buffer: 2, view, value: 0 }] } as const;
  const operands = [operand(0), operand(1)];
  return { kind: "routine", name: "matmul", op: "matmul", attrs: {}, operands, shape: [n, n], dtype: "f32", epilogue };
}

async function timeTile(device: GPUDevice, tile: Tile, n: number, values: Float32Array<ArrayBuffer>): Promise<number> {
  const limits = { workgroupBytes: device.limits.maxComputeWorkgroupStorageSize, serial: false };
  const { code, words, workgroups } = matmulDispatch(
    squareProduct(n),
    tile,
    { pieces: 1, size: n },
    {
      canonical: (b) => b,
      scratch: () => 0,
      limits,
    },
  );
  const entry = (binding: number, type: GPUBufferBindingType) => ({
    binding,
    visibility: computeStage,
    buffer: { type },
  });
  const layout = device.createBindGroupLayout({
    entries: [entry(0, "uniform"), entry(1, "read-only-storage"), entry(2, "read-only-storage"), entry(3, "storage")],
  });
  const module = device.createShaderModule({ code });
  const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [layout] });
  const pipeline = await device.createComputePipelineAsync({ layout: pipelineLayout, compute: { module } });
  const parameters = device.createBuffer({ size: 4096, usage: usage.uniform | usage.copyTarget });
  device.queue.writeBuffer(parameters, 0, Int32Array.from(words as number[]));
  const buffers = [1, 2, 3].map(() => {
    const buffer = device.createBuffer({ size: n * n * 4, usage: usage.storage | usage.copyTarget | usage.copySource });
    device.queue.writeBuffer(buffer, 0, values);
    return buffer;
  });
  const entries = [parameters, ...buffers].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout, entries });
  let fastest = Infinity;
  const count = 8;
  for (let round = 0; round < 5; round++) {
    const begun = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < count; i++) pass.dispatchWorkgroups(workgroups);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    fastest = Math.min(fastest, (performance.now() - begun) / count);
  }
  for (const buffer of [...buffers, parameters]) buffer.destroy();
  return fastest;
}

async function tiles(small: boolean): Promise<void> {
  const module = (await import("webgpu")) as { create: (flags: string[]) => GPU };
  const sizes = small ? [64] : [1024, 2048, 4096];
  const values = new Map(sizes.map((n) => [n, data(n, n * n) as Float32Array<ArrayBuffer>]));
  for (const flags of ["disable_workgroup_init", "disable_workgroup_init,disable_robustness"]) {
    const gpu = module.create([`enable-dawn-features=${flags}`]);
    const adapter = (await gpu.requestAdapter({ powerPreference: "high-performance" }))!;
    const { maxComputeWorkgroupStorageSize, maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    const requiredLimits = { maxComputeWorkgroupStorageSize, maxBufferSize, maxStorageBufferBindingSize };
    const device = await adapter.requestDevice({ requiredLimits });
    console.log(`-- ${flags}; workgroup memory ${maxComputeWorkgroupStorageSize}; ${[...adapter.features].join(" ")}`);
    for (const tile of candidates) {
      const name = `${tile.rows}x${tile.columns} by ${tile.high}x${tile.wide} depth ${tile.depth} unroll ${tile.unroll}`;
      try {
        const results: string[] = [];
        for (const n of sizes) {
          const ms = await timeTile(device, tile, n, values.get(n)!);
          results.push(`${n}: ${tera(2 * n ** 3, ms)}`);
        }
        console.log(`${name.padEnd(44)} ${results.join("  ")}`);
      } catch (error) {
        console.log(`${name.padEnd(44)} ${(error as Error).message.split("\n")[0]}`);
      }
    }
    device.destroy();
    // Held until the device is gone.
    if (!gpu) throw new Error("unreachable");
  }
}

await init("webgpu");
const details = (await devices()).find((d) => d.name === "webgpu")!.details;
console.log(JSON.stringify(details));
const small = String(details.adapter).includes("swiftshader") || String(details.adapter).includes("llvmpipe");
let failures = 0;
if (asked("check")) failures = await check();
if (asked("speed")) await speed(small);
console.log(JSON.stringify(memory("webgpu")));
await shutdown();
if (asked("tiles")) await tiles(small);
console.log(failures === 0 ? "all checks passed" : `${failures} checks failed`);
process.exitCode = failures === 0 ? 0 : 1;
