import type { MemoryTrace } from "../programs/memory.ts";
import { atMost, type Bar } from "../runner/report.ts";
import { runScript } from "../runner/script.ts";
import type { Suite } from "../runner/suite.ts";

const warmUp = 5_000;
const steps = 10_000;
/** V8 doubles its room for young objects within some thousands of steps, up to a limit: from the start at the limit, what grows is ours. */
const flags = ["--expose-gc", "--min-semi-space-size=64"];

export const memory: Suite = {
  what: `what ${steps} training steps of a small mixture leave behind`,
  async run() {
    const careful = await runScript<MemoryTrace>("programs/memory.ts", [String(warmUp), String(warmUp + steps)], flags);
    const newcomer = await runScript<MemoryTrace>(
      "programs/memory.ts",
      ["newcomer", String(warmUp), String(warmUp + steps)],
      flags,
    );
    const traces = [
      ["with donate", careful],
      ["newcomer: no donate, no dispose", newcomer],
    ] as const;
    return {
      tables: [
        {
          title: "After so many steps",
          columns: ["loop", "steps", "live tensors", "live KiB", "JavaScript heap MiB", "young MiB", "resident MiB"],
          rows: traces.flatMap(([name, { samples }]) =>
            [500, 2_500, warmUp, warmUp + steps / 2, warmUp + steps].map((at) => {
              const { step, liveTensors, liveBytes, heapMiB, youngMiB, residentMiB } = samples.find(
                (s) => s.step === at,
              )!;
              return [name, step, liveTensors, liveBytes / 1024, heapMiB, youngMiB, residentMiB];
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
        atMost("peak of live bytes, newcomer", newcomer.peakBytes / 2 ** 20, 80, " MiB"),
      ],
      chart: {
        title: "Resident memory",
        unit: "MiB",
        bars: traces.flatMap(([name, { samples }]) =>
          samples
            .filter(({ step }) => step % 1_000 === 0)
            .map(({ step, residentMiB }) => ({ group: name, label: `${step}`, value: residentMiB })),
        ),
      },
      notes: [
        `Warm-up is the first ${warmUp} steps. V8 has its room for young objects, which it would double on the way, from the start; growth is that of what a collection leaves resident, after the last step over after the warm-up. ` +
          `The two loops took ${careful.seconds.toFixed(0)} and ${newcomer.seconds.toFixed(0)} s.`,
      ],
      data: { careful, newcomer },
    };
  },
};

const warm = (samples: MemoryTrace["samples"]) => samples.filter(({ step }) => step > warmUp);

function liveRange({ samples }: MemoryTrace): number {
  const live = warm(samples).map(({ liveBytes }) => liveBytes);
  return Math.max(...live) - Math.min(...live);
}

/** Percent. */
function growth({ collectedMiB: [before, after] }: MemoryTrace): number {
  return 100 * (after / before - 1);
}
