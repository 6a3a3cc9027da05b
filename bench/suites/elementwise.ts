import { drop, measure, type Measurement } from "../runner/measure.ts";
import type { ContestantName } from "../runner/contestants.ts";
import { atLeast } from "../runner/report.ts";
import { withContestants, type Suite } from "../runner/suite.ts";
import type { TaskName, TaskSizes } from "../tasks.ts";

interface Row<N extends TaskName> {
  readonly task: N;
  readonly name: string;
  readonly sizes: TaskSizes[N];
  /** What the work must read and write at least, in bytes. */
  readonly bytes: number;
  /** How many times faster than the better of the peers in JavaScript it must be. */
  readonly bar?: number;
}

const elements = 4 * 2 ** 20;
const matrix = { rows: elements / 1024, cols: 1024 };

const softmaxRows: readonly Row<TaskName>[] = [
  { task: "softmax", name: "softmax, forward and backward", sizes: matrix, bytes: 4 * 4 * elements, bar: 2 },
  { task: "layerNorm", name: "layer norm, forward and backward", sizes: matrix, bytes: 4 * 4 * elements, bar: 2 },
];

const elementwiseRows: readonly Row<TaskName>[] = [
  { task: "gelu", name: "gelu, forward and backward", sizes: { size: elements }, bytes: 4 * 4 * elements, bar: 2 },
  { task: "chain", name: "sqrt((a b + c)² + 1)", sizes: { size: elements }, bytes: 4 * 4 * elements },
  { task: "sum", name: "sums of rows", sizes: matrix, bytes: 4 * elements },
];

export const softmax: Suite = { what: "row-wise functions of 4 M elements", run: () => runRows(softmaxRows, []) };
export const elementwise: Suite = {
  what: "point-wise functions of 4 M elements",
  run: () => runRows(elementwiseRows, ["tfjs-cpu"]),
};

const peers = ["tfjs-wasm", "jax-js"];

const runRows = (rows: readonly Row<TaskName>[], slow: readonly ContestantName[]) =>
  withContestants(
    ["switchyard", "switchyard revectorized", "tfjs-wasm", "jax-js", ...slow, "PyTorch"],
    async ({ contestants, notes }) => {
      const found: { row: Row<TaskName>; measured: readonly Measurement[] }[] = [];
      let copying = 0;
      for (const row of rows) {
        const { task, sizes } = row;
        found.push({ row, measured: await measure(contestants, { task, sizes, tolerance: 1e-4, warmUp: 600 }) });
        copying = Math.max(copying, (await contestants[0].ask({ ask: "ceilings" }))!.gigabytesPerSecond);
        await drop(contestants);
      }
      const rate = ({ bytes }: Row<TaskName>, ms: number): number => bytes / ms / 1e6;
      return {
        tables: [
          {
            title: "To a result on the device",
            columns: ["what", "who", "ms", "of ours", "GB/s", "of copying", "differs"],
            rows: found.flatMap(({ row, measured }) =>
              measured.map(({ contestant, ms, absent, difference }) => [
                row.name,
                contestant,
                absent ?? ms,
                measured[0].ms / ms,
                rate(row, ms),
                `${((100 * rate(row, ms)) / copying).toFixed(0)} %`,
                difference.toExponential(0),
              ]),
            ),
          },
        ],
        bars: found
          .filter(({ row }) => row.bar !== undefined)
          .map(({ row, measured }) => {
            const best = Math.min(...measured.filter((m) => peers.includes(m.contestant)).map((m) => m.ms));
            return atLeast(
              `${row.name}: plain over the better of tfjs-wasm and jax-js`,
              best / measured[0].ms,
              row.bar!,
            );
          }),
        chart: {
          title: "4 M elements",
          unit: "ms, less is better",
          bars: found.flatMap(({ row, measured }) =>
            measured
              .filter(({ contestant }) => contestant !== "tfjs-cpu")
              .map(({ contestant, ms }) => ({ group: row.name, label: contestant, value: ms })),
          ),
        },
        notes: [
          ...notes,
          `GB/s counts what must be read and written at least; copying on all threads reaches ${copying.toFixed(1)} GB/s here.`,
          "Numbers agree to 1e-4 of the largest. tfjs-cpu, where it is asked at all, is left out of the plot, which it would flatten.",
        ],
        data: found,
      };
    },
  );
