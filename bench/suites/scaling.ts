import { measureTogether } from "../runner/measure.ts";
import { atLeast, atMost, type Bar } from "../runner/report.ts";
import { withContestants, type Suite } from "../runner/suite.ts";
import type { Ceilings } from "../tasks.ts";
import { layerSizes, moeTolerance } from "./moe.ts";

const counts = [4, 8, 64, 256] as const;
const ours = ["switchyard", "switchyard revectorized"] as const;

export const scaling: Suite = {
  what: "what more experts cost, at the same work for each token",
  run: () =>
    withContestants([...ours, "PyTorch"], async ({ contestants, notes }) => {
      const ceilings: Ceilings[] = [];
      const timing = { tolerance: moeTolerance, rounds: 7, ms: 0 };
      const trials = counts.map((experts) => ({ task: "moe" as const, sizes: layerSizes(experts), ...timing }));
      const measured = await measureTogether(contestants, trials);
      const found = counts.map((experts, i) => ({ experts, measured: measured[i] }));
      for (const contestant of contestants.slice(0, ours.length))
        ceilings.push((await contestant.ask({ ask: "ceilings" }))!);
      const ms = (experts: number, name: string): number =>
        found.find((f) => f.experts === experts)!.measured.find((m) => m.contestant === name)?.ms ?? NaN;
      return {
        tables: [
          {
            title: "T = 2048, k = 2, D = 256, H = 512, SwiGLU, forward and backward",
            columns: ["who", "E", "ms", "over E = 4", "differs"],
            rows: contestants.flatMap(({ name }) =>
              found.map(({ experts, measured }) => {
                const { ms: time, absent, difference } = measured.find((m) => m.contestant === name)!;
                return [name, experts, absent ?? time, time / ms(4, name), difference.toExponential(0)];
              }),
            ),
          },
        ],
        bars: [
          ...ours.flatMap((us, i) => [64, 256].map((experts) => memoryBar(us, experts, ms, ceilings[i]))),
          ...ours.flatMap((us) => [64, 256].map((experts) => ratioBar(us, experts, ms))),
          atLeast("E = 64: revectorized over PyTorch", ms(64, "PyTorch") / ms(64, ours[1]), 1),
          atLeast("E = 256: revectorized over PyTorch", ms(256, "PyTorch") / ms(256, ours[1]), 1.2),
        ],
        chart: {
          title: "A mixture layer's time by its number of experts",
          unit: "times that of 4 experts, less is better",
          bars: contestants.flatMap(({ name }) =>
            counts.map((experts) => ({ group: name, label: `E = ${experts}`, value: ms(experts, name) / ms(4, name) })),
          ),
        },
        notes: [
          ...notes,
          "Memory forces two reads of the weights and one write of their gradients, at the bandwidth of copying; the router's product grows with E too, at the ceiling of our inner loop.",
        ],
        data: { found, ceilings },
      };
    }),
};

type Time = (experts: number, name: string) => number;

/** 1.5 times what memory forces, and the router's products, forward and twice backward. */
function memoryBar(us: string, experts: number, ms: Time, { gflops, gigabytesPerSecond }: Ceilings): Bar {
  const { tokens, dim, hidden } = layerSizes(experts);
  const more = experts - 4;
  const bytes = 3 * more * 3 * dim * hidden * 4;
  const forced = (1.5 * bytes) / gigabytesPerSecond / 1e6 + (3 * 2 * tokens * dim * more) / gflops / 1e6;
  return atMost(`t(${experts}) - t(4), ${us}`, ms(experts, us) - ms(4, us), forced, " ms");
}

/** What that comes to on the machine where it was first measured. */
function ratioBar(us: string, experts: number, ms: Time): Bar {
  const most = us === "switchyard" ? { 64: 1.15, 256: 1.6 } : { 64: 1.25, 256: 2 };
  return atMost(`t(${experts}) / t(4), ${us}`, ms(experts, us) / ms(4, us), most[experts as 64 | 256]);
}
