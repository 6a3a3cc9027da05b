import type { Contestant } from "../runner/contestant.ts";
import { drop, measure, type Measurement } from "../runner/measure.ts";
import { atLeast, type Bar, type Report } from "../runner/report.ts";
import { median } from "../runner/statistics.ts";
import { withContestants, type Suite } from "../runner/suite.ts";

const sizes = [256, 512, 1024] as const;

/** Our own four ways to run; peers with the process's flag have their own processes. */
const ours = [
  "switchyard",
  "switchyard revectorized",
  "switchyard 1 thread",
  "switchyard 1 thread revectorized",
] as const;

export const matmul: Suite = {
  what: "square products in f32",
  run: () =>
    withContestants(
      [...ours, "tfjs-wasm", "tfjs-wasm revectorized", "jax-js", "jax-js revectorized", "PyTorch"],
      async ({ contestants, notes }) => {
        const rounds = [];
        for (const n of sizes) {
          const before = await ceilings(contestants);
          const found = await measure(contestants, { task: "matmul", sizes: { n }, tolerance: 1e-5 });
          const kernels = await kernelTimes(contestants);
          const after = await ceilings(contestants);
          rounds.push({ n, found, kernels, ceilings: before.map((c, i) => Math.max(c, after[i])) });
          await drop(contestants);
        }
        return reportOf(rounds, notes);
      },
    ),
};

/** GFLOP/s of the inner loop, by our contestants in order. */
async function ceilings(contestants: readonly Contestant[]): Promise<number[]> {
  const rates: number[] = [];
  for (const contestant of contestants.slice(0, ours.length))
    rates.push((await contestant.ask({ ask: "ceilings" }))!.gflops);
  return rates;
}

/** Milliseconds in kernels, the median of nine, by our contestants in order. */
async function kernelTimes(contestants: readonly Contestant[]): Promise<number[]> {
  const times: number[][] = contestants.slice(0, ours.length).map(() => []);
  for (let i = 0; i < 9; i++)
    for (const [c, list] of times.entries())
      list.push((await contestants[c].ask({ ask: "profile", trial: 0 }))!.reduce((sum, { ms }) => sum + ms, 0));
  return times.map(median);
}

interface Round {
  readonly n: number;
  readonly found: readonly Measurement[];
  readonly kernels: readonly number[];
  readonly ceilings: readonly number[];
}

function reportOf(rounds: readonly Round[], notes: readonly string[]): Report {
  const gflops = ({ n }: Round, ms: number): number => (2 * n ** 3) / ms / 1e6;
  const share = (round: Round, i: number): number => (100 * gflops(round, round.kernels[i])) / round.ceilings[i];
  const rows = rounds.flatMap((round) =>
    round.found.map(({ contestant, ms, difference, absent }, i) => [
      round.n,
      contestant,
      absent ?? ms,
      gflops(round, ms),
      round.found[0].ms / ms,
      round.kernels[i] === undefined ? "" : gflops(round, round.kernels[i]),
      round.ceilings[i] === undefined ? "" : `${share(round, i).toFixed(0)} % of ${round.ceilings[i].toFixed(0)}`,
      difference.toExponential(0),
    ]),
  );
  return {
    tables: [
      {
        title: "n·n by n·n, to a result on the device",
        columns: ["n", "who", "ms", "GFLOP/s", "of ours", "in kernels", "of ceiling", "differs"],
        rows,
      },
    ],
    bars: rounds.filter(({ n }) => n >= 512).flatMap((round) => barsOf(round, (i) => share(round, i))),
    chart: {
      title: "f32 matrix products",
      unit: "GFLOP/s",
      bars: rounds.flatMap((round) =>
        round.found.map(({ contestant, ms }) => ({
          group: `n = ${round.n}`,
          label: contestant,
          value: gflops(round, ms),
        })),
      ),
    },
    notes: [
      ...notes,
      "The ceiling is our own inner loop on panels that stay in the first-level cache, on all threads at once; kernel times carry no hand-off.",
      "Numbers agree to 1e-5 of the largest.",
    ],
    data: rounds,
  };
}

function barsOf({ n, found }: Round, share: (i: number) => number): Bar[] {
  const ms = (name: string): number => found.find(({ contestant }) => contestant === name)?.ms ?? NaN;
  const over = (us: string, peers: readonly string[]): number => Math.min(...peers.map(ms)) / ms(us);
  const [plain, wide, plain1, wide1] = ours;
  const peers = ["tfjs-wasm", "jax-js"];
  const widePeers = peers.map((name) => `${name} revectorized`);
  return [
    atLeast(`${n}: plain over the better of tfjs-wasm and jax-js`, over(plain, peers), 2.7),
    atLeast(`${n}: revectorized over them without the flag`, over(wide, peers), 5),
    atLeast(`${n}: revectorized over them with the flag`, over(wide, widePeers), 2.7),
    atLeast(`${n}: plain over them, 1 thread`, over(plain1, peers), 1.4),
    atLeast(`${n}: revectorized over them, 1 thread`, over(wide1, peers), 2.6),
    atLeast(`${n}: plain, share of our ceiling`, share(0), n === 512 ? 70 : 80, " %"),
    atLeast(`${n}: revectorized, share of our ceiling`, share(1), n === 512 ? 70 : 80, " %"),
    atLeast(`${n}: plain over PyTorch`, over(plain, ["PyTorch"]), 0.2),
    atLeast(`${n}: revectorized over PyTorch`, over(wide, ["PyTorch"]), 0.35),
  ];
}
