import { shareOfCeiling, totalOf } from "@switchyard/tensor";
import { drop, measure, type Measurement } from "../runner/measure.ts";
import type { Suite } from "../runner/suite.ts";
import { withContestants } from "../runner/suite.ts";
import type { Bar, Table } from "../runner/report.ts";
import { atLeast, round } from "../runner/report.ts";
import type { Contestant } from "../runner/contestant.ts";
import type { Ceilings, KernelRow, StepSizes } from "../tasks.ts";

/** The command line's demo, ours alone: no peer has its router. */
const demo: StepSizes = {
  vocab: 90,
  layers: 4,
  dim: 128,
  heads: 4,
  hidden: 256,
  context: 128,
  batch: 16,
  experts: 8,
  k: 2,
  activation: "relu",
  router: "noisy",
};

/** A model that everyone can write: plain top-k softmax routing, SwiGLU, no auxiliary losses. */
export const commonModel = (experts: number): StepSizes => ({
  ...demo,
  experts,
  activation: "swiglu",
  router: "softmax",
});

const trials: readonly { readonly name: string; readonly sizes: StepSizes; readonly peers: boolean }[] = [
  { name: "demo (noisy top-2 of 8, relu, batch 16)", sizes: demo, peers: false },
  { name: "top-2 of 8, SwiGLU, batch 16", sizes: commonModel(8), peers: true },
  { name: "top-2 of 64, SwiGLU, batch 16", sizes: commonModel(64), peers: true },
];

export const step: Suite = {
  what: "a training step of the demo language model, and where its time goes",
  run: () =>
    withContestants(
      ["switchyard", "switchyard revectorized", "tfjs-wasm", "jax-js", "PyTorch"],
      async ({ contestants, notes }) => {
        const rows: (string | number)[][] = [];
        const profiles: Table[] = [];
        const bars: Bar[] = [];
        const data: unknown[] = [];
        const ours = contestants.slice(0, 2);
        for (const { name, sizes, peers } of trials) {
          const found = await measure(peers ? contestants : ours, {
            task: "step",
            sizes,
            tolerance: 2e-3,
            rounds: 3,
            ms: 1000,
            warmUp: 1500,
          });
          const rate = (contestant: string): number =>
            (sizes.batch * sizes.context * 1000) / (found.find((m) => m.contestant === contestant)?.ms ?? NaN);
          for (const { contestant, ms, absent } of found)
            rows.push([
              name,
              contestant,
              absent ?? ms,
              rate(contestant),
              rate("switchyard revectorized") / rate(contestant),
            ]);
          data.push({ name, sizes, found });
          if (peers) bars.push(...barsOf(name, sizes.experts, rate));
          else for (const contestant of ours) profiles.push(await whereTimeGoes(contestant, found));
          await drop(contestants);
        }
        return {
          tables: [
            {
              title: "Training steps",
              columns: ["model", "who", "ms", "tokens/s", "ours revectorized is faster by"],
              rows,
            },
            ...profiles,
          ],
          bars,
          chart: {
            title: "Training the demo language model",
            unit: "tokens per second",
            bars: rows.map(([group, label, , value]) => ({
              group: String(group),
              label: String(label),
              value: Number(value),
            })),
          },
          notes: [
            ...notes,
            "Kernel times are with a barrier and a clock after each kernel; the step itself has neither clock.",
          ],
          data,
        };
      },
    ),
};

function barsOf(name: string, experts: number, rate: (contestant: string) => number): Bar[] {
  const over = (peer: string): number => rate("switchyard revectorized") / rate(peer);
  return [
    atLeast(`${name}: tokens/s over tfjs-wasm`, over("tfjs-wasm"), 5),
    atLeast(`${name}: tokens/s over jax-js`, over("jax-js"), 5),
    atLeast(`${name}: tokens/s over PyTorch, revectorized`, over("PyTorch"), experts >= 64 ? 1 : 0.7),
  ];
}

/** The kernels of the fastest of five steps with their shares of the ceilings, the longest first, and what is left over. */
async function whereTimeGoes(contestant: Contestant, found: readonly Measurement[]): Promise<Table> {
  const stepMs = found.find((m) => m.contestant === contestant.name)!.ms;
  let kernels: readonly KernelRow[] = [];
  let ceilings: Ceilings = { gflops: 0, gigabytesPerSecond: 0 };
  for (let i = 0; i < 5; i++) {
    ceilings = higher(ceilings, (await contestant.ask({ ask: "ceilings" }))!);
    const profiled = (await contestant.ask({ ask: "profile", trial: 0 }))!;
    if (kernels.length === 0 || totalOf(profiled).ms < totalOf(kernels).ms) kernels = profiled;
  }
  const most = kernels.slice(0, 24);
  const rest = kernels.slice(24);
  const line = (name: string, { calls, ms, bytes, flops }: Omit<KernelRow, "name">) => [
    name,
    calls,
    ms,
    `${round((100 * ms) / totalOf(kernels).ms)} %`,
    bytes / ms / 1e6,
    flops / ms / 1e6,
    `${round(100 * shareOfCeiling({ ms, bytes, flops }, ceilings))} %`,
  ];
  const sum = (rows: readonly KernelRow[]) => ({
    calls: rows.reduce((n, r) => n + r.calls, 0),
    ...totalOf(rows),
  });
  return {
    title:
      `${contestant.name}: kernels of one demo step (ceilings: ${round(ceilings.gflops)} GFLOP/s of our inner loop on all ` +
      `threads, ${round(ceilings.gigabytesPerSecond)} GB/s of copying; the step takes ${round(stepMs)} ms)`,
    columns: ["kernel", "calls", "ms", "share", "GB/s", "GFLOP/s", "of ceiling"],
    rows: [
      ...most.map((kernel) => line(kernel.name, kernel)),
      ...(rest.length > 0 ? [line(`${rest.length} more`, sum(rest))] : []),
      line("all", sum(kernels)),
    ],
  };
}

const higher = (a: Ceilings, b: Ceilings): Ceilings => ({
  gflops: Math.max(a.gflops, b.gflops),
  gigabytesPerSecond: Math.max(a.gigabytesPerSecond, b.gigabytesPerSecond),
});
