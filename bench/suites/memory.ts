import type { MemoryTrace } from "../programs/memory.ts";
import { atMost, type Bar } from "../runner/report.ts";
import { runScript } from "../runner/script.ts";
import { median } from "../runner/statistics.ts";
import type { Suite } from "../runner/suite.ts";

const steps = 10_000;

export const memory: Suite = {
  what: `what ${steps} training steps of a small mixture leave behind`,
  async run() {
    const careful = await runScript<MemoryTrace>("programs/memory.ts", [String(steps)]);
    const newcomer = await runScript<MemoryTrace>("programs/memory.ts", ["newcomer", String(steps)]);
    const traces = [
      ["with donate", careful],
      ["newcomer: no donate, no dispose", newcomer],
    ] as const;
    return {
      tables: [
        {
          title: "After so many steps",
          columns: ["loop", "steps", "live tensors", "live KiB", "JavaScript heap MiB", "resident MiB"],
          rows: traces.flatMap(([name, { samples }]) =>
            [9, 49, 99, 149, 199].map((i) => {
              const { step, liveTensors, liveBytes, heapMiB, residentMiB } = samples[i];
              return [name, step, liveTensors, liveBytes / 1024, heapMiB, residentMiB];
            }),
          ),
        },
      ],
      bars: [
        {
          what: "live bytes after warm-up, with donate",
          bar: "flat",
          measured: `${liveRange(careful)} bytes of change`,
          met: liveRange(careful) === 0,
        },
        ...traces.map(([name, trace]): Bar => atMost(`growth of resident memory, ${name}`, growth(trace), 2, " %")),
        atMost("peak of live bytes, newcomer", newcomer.peakBytes / 2 ** 20, 512, " MiB"),
      ],
      chart: {
        title: "Resident memory",
        unit: "MiB",
        bars: traces.flatMap(([name, { samples }]) =>
          samples
            .filter((_, i) => i % 10 === 9)
            .map(({ step, residentMiB }) => ({ group: name, label: `${step}`, value: residentMiB })),
        ),
      },
      notes: [
        `Warm-up is the first quarter. Growth is the median of the last quarter over that of the second. ` +
          `The two loops took ${careful.seconds.toFixed(0)} and ${newcomer.seconds.toFixed(0)} s.`,
      ],
      data: { careful, newcomer },
    };
  },
};

function liveRange({ samples }: MemoryTrace): number {
  const live = samples.slice(50).map(({ liveBytes }) => liveBytes);
  return Math.max(...live) - Math.min(...live);
}

/** Percent. */
function growth({ samples }: MemoryTrace): number {
  const resident = samples.map(({ residentMiB }) => residentMiB);
  return 100 * (median(resident.slice(150)) / median(resident.slice(50, 100)) - 1);
}
