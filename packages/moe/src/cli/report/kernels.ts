import { shareOfCeiling, totalOf, type Ceilings, type KernelProfile, type Work } from "@switchyard/tensor";
import type { ProfileEvent } from "./events.ts";

/** Kernels named one by one; the rest are a line together. */
const most = 20;
/** Fused kernels have long names. */
const longestName = 44;

/** A table: where the time of a step went, the longest first. */
export function describeProfile({ milliseconds, kernels, ceilings }: ProfileEvent): string {
  const all = totalOf(kernels);
  const rest = kernels.slice(most);
  const line = (name: string, calls: number, work: Work): string[] => [
    name.length > longestName ? `${name.slice(0, longestName - 1)}…` : name,
    String(calls),
    work.ms.toFixed(2),
    `${((100 * work.ms) / all.ms).toFixed(1)} %`,
    ...(ceilings ? rates(work, ceilings) : []),
  ];
  const rows = [
    ["kernel", "calls", "ms", "share", ...(ceilings ? ["MB", "MFLOP", "GB/s", "GFLOP/s", "of ceiling"] : [])],
    ...kernels.slice(0, most).map((kernel) => line(kernel.name, kernel.calls, kernel)),
    ...(rest.length > 0 ? [line(`${rest.length} more`, callsOf(rest), totalOf(rest))] : []),
    line("all", callsOf(kernels), all),
  ];
  return [
    `a step takes ${milliseconds.toFixed(1)} ms with a clock after each kernel; in kernels:`,
    ...aligned(rows),
    ...(ceilings
      ? [
          `ceilings, measured now: ${ceilings.gflops.toFixed(0)} GFLOP/s in a product of 1024·1024 matrices, ` +
            `${ceilings.gigabytesPerSecond.toFixed(1)} GB/s in a pass over 64 MiB (what stays in a cache may be faster)`,
        ]
      : []),
  ].join("\n");
}

const callsOf = (kernels: readonly KernelProfile[]): number => kernels.reduce((sum, { calls }) => sum + calls, 0);

const rates = (work: Work, ceilings: Ceilings): string[] => [
  (work.bytes / 1e6).toFixed(1),
  (work.flops / 1e6).toFixed(1),
  (work.bytes / work.ms / 1e6).toFixed(1),
  (work.flops / work.ms / 1e6).toFixed(1),
  `${(100 * shareOfCeiling(work, ceilings)).toFixed(0)} %`,
];

/** Names to the left, numbers to the right. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  "),
  );
}
