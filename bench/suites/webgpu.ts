import type { ContestantName } from "../runner/contestants.ts";
import { drop, measure, type Measurement } from "../runner/measure.ts";
import { atLeast } from "../runner/report.ts";
import { withContestants, type Suite } from "../runner/suite.ts";
import type { TaskName, TaskSizes } from "../tasks.ts";

interface Row<N extends TaskName = TaskName> {
  readonly task: N;
  readonly name: string;
  readonly sizes: TaskSizes[N];
}

const names: readonly ContestantName[] = ["switchyard webgpu", "tfjs-webgpu", "jax-js webgpu"];

/** Small enough for an adapter that is a program. */
const rows: readonly Row[] = [
  { task: "matmul", name: "matmul 256", sizes: { n: 256 } },
  { task: "matmul", name: "matmul 512", sizes: { n: 512 } },
  { task: "softmax", name: "softmax of 256 rows of 1024, forward and backward", sizes: { rows: 256, cols: 1024 } },
  {
    task: "moe",
    name: "mixture layer, T = 512, E = 8, k = 2, D = 64, H = 128, forward and backward",
    sizes: { tokens: 512, dim: 64, hidden: 128, experts: 8, k: 2 },
  },
];

/** How many times faster than the better of the peers we must be. */
const bar = 2;

export const webgpu: Suite = {
  what: "webgpu in Node, all on the same adapter",
  run: () =>
    withContestants(names, async ({ contestants, notes }) => {
      const found: { row: Row; measured: readonly Measurement[] }[] = [];
      for (const row of rows) {
        const { task, sizes } = row;
        const timing = { tolerance: 1e-3, rounds: 5, ms: 300, warmUp: 500 };
        found.push({ row, measured: await measure(contestants, { task, sizes, ...timing }) });
        await drop(contestants);
      }
      return {
        tables: [
          {
            title: "To a result on the device",
            columns: ["what", "who", "ms", "of ours", "differs"],
            rows: found.flatMap(({ row, measured }) =>
              measured.map(({ contestant, ms, absent, difference }) => [
                row.name,
                contestant,
                absent ?? ms,
                ms / measured[0].ms,
                difference.toExponential(0),
              ]),
            ),
          },
        ],
        bars: found.map(({ row, measured: [ours, ...peers] }) => {
          const best = Math.min(...peers.filter(({ ms }) => !Number.isNaN(ms)).map(({ ms }) => ms));
          return atLeast(`${row.name}: over the better of the peers`, best === Infinity ? NaN : best / ours.ms, bar);
        }),
        chart: {
          title: "WebGPU in Node",
          unit: "ms, less is better",
          bars: found.flatMap(({ row, measured }) =>
            measured.map(({ contestant, ms }) => ({ group: row.name, label: contestant, value: ms })),
          ),
        },
        notes: [
          ...notes,
          `The adapter: ${JSON.stringify(contestants[0]?.facts.adapter)}. A software adapter tells nothing about a real one.`,
          "The peers are made for pages; here they find Node's WebGPU in navigator.gpu, under the flags that we use ourselves.",
        ],
        data: found,
      };
    }),
};
