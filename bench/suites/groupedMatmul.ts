import { drop, measure, type Measurement } from "../runner/measure.ts";
import { withContestants, type Suite } from "../runner/suite.ts";
import type { Ceilings, TaskSizes } from "../tasks.ts";

type Sizes = TaskSizes["groupedMatmul"];

/** From one huge group to many tiny ones: the same products throughout. */
const sizes: readonly Sizes[] = [1, 8, 64, 256].map((groups) => ({ groups, rows: 4096, inner: 256, cols: 512 }));

export const groupedMatmul: Suite = {
  what: "runs of rows times their own matrices, and the gradient of those matrices",
  run: () =>
    withContestants(
      ["switchyard", "switchyard revectorized", "tfjs-wasm", "jax-js", "PyTorch"],
      async ({ contestants, notes }) => {
        const found: { size: Sizes; measured: readonly Measurement[] }[] = [];
        for (const size of sizes) {
          const able = contestants.filter(({ name }) => name !== "jax-js" || size.groups <= mostCompiled);
          found.push({
            size,
            measured: await measure(able, { task: "groupedMatmul", sizes: size, tolerance: 1e-5, rounds: 3 }),
          });
          await drop(able);
        }
        const ceilings: Ceilings[] = [];
        for (const contestant of contestants.slice(0, 2)) ceilings.push((await contestant.ask({ ask: "ceilings" }))!);
        const gflops = ({ rows, inner, cols }: Sizes, ms: number): number => (4 * rows * inner * cols) / ms / 1e6;
        const rows = found.flatMap(({ size, measured }) =>
          measured.map(({ contestant, ms, absent, difference }, i) => [
            size.groups,
            contestant,
            absent ?? ms,
            gflops(size, ms),
            measured[0].ms / ms,
            ceilings[i] ? `${((100 * gflops(size, ms)) / ceilings[i].gflops).toFixed(0)} %` : "",
            difference.toExponential(0),
          ]),
        );
        return {
          tables: [
            {
              title: "4096 rows of 256 by G matrices of 256·512, forward and their gradients",
              columns: ["groups", "who", "ms", "GFLOP/s", "of ours", "of ceiling", "differs"],
              rows,
            },
          ],
          bars: [],
          chart: {
            title: "Grouped matrix products",
            unit: "GFLOP/s",
            bars: found.flatMap(({ size, measured }) =>
              measured.map(({ contestant, ms }) => ({
                group: `${size.groups} groups`,
                label: contestant,
                value: gflops(size, ms),
              })),
            ),
          },
          notes: [
            ...notes,
            "Groups are uneven. Peers know the offsets on the host and multiply group by group; ours has them on the device.",
            `jax-js compiles a program for each set of offsets, which takes too long for more than ${mostCompiled} groups.`,
          ],
          data: { found, ceilings },
        };
      },
    ),
};

const mostCompiled = 64;
