import type { ContestantName } from "../runner/contestants.ts";
import { measureTogether, type Measurement } from "../runner/measure.ts";
import { atLeast, atMost } from "../runner/report.ts";
import { withContestants, type Suite } from "../runner/suite.ts";
import type { MoeSizes } from "../tasks.ts";

/** The layer of which every promise about mixtures speaks. */
export const layerSizes = (experts: number): MoeSizes => ({ tokens: 2048, dim: 256, hidden: 512, experts, k: 2 });

const names: readonly ContestantName[] = [
  "switchyard",
  "switchyard revectorized",
  "tfjs-wasm",
  "jax-js",
  "PyTorch",
  "Mixtral block of transformers",
];

/** Beyond rounding alone: each contestant adds up in its own order, through three products and back. */
export const moeTolerance = 1e-4;

export const moe: Suite = {
  what: "a mixture layer forward and backward, against a dense one and against peers",
  run: () =>
    withContestants(names, async ({ contestants, notes }) => {
      const { hidden, k, tokens, dim } = layerSizes(8);
      const timing = { tolerance: moeTolerance, rounds: 5, ms: 0 };
      const measured = await measureTogether<"moe" | "expertsAlone" | "dense">(contestants, [
        { task: "moe", sizes: layerSizes(8), ...timing },
        { task: "expertsAlone", sizes: layerSizes(8), ...timing },
        { task: "dense", sizes: { tokens, dim, hidden: hidden * k }, ...timing },
        { task: "moe", sizes: layerSizes(64), ...timing },
      ]);
      const [eight, alone, dense, many] = measured;
      const found = ["E = 8", "E = 8, experts alone", "dense, as many products", "E = 64"].map((what, i) => ({
        what,
        measured: measured[i],
      }));
      const ms = (of: readonly Measurement[], name: ContestantName): number =>
        of.find((m) => m.contestant === name)?.ms ?? NaN;
      const wide = "switchyard revectorized";
      return {
        tables: [
          {
            title: "T = 2048, k = 2, D = 256, H = 512, SwiGLU, forward and backward",
            columns: ["layer", "who", "ms", "of ours", "differs"],
            rows: found.flatMap(({ what, measured }) =>
              measured.map(({ contestant, ms: time, absent, difference }) => [
                what,
                contestant,
                absent ?? time,
                measured[0].ms / time,
                difference.toExponential(0),
              ]),
            ),
          },
        ],
        bars: ["switchyard" as const, wide as typeof wide]
          .flatMap((us) => [
            atMost(`E = 8 over dense of equal active products, ${us}`, ms(eight, us) / ms(dense, us), 1.25),
            atMost(`E = 8: routing, dispatch and combine, ${us}`, routingShare(ms(alone, us), ms(eight, us)), 15, " %"),
          ])
          .concat([
            atLeast("E = 64: revectorized over hand-written PyTorch", ms(many, "PyTorch") / ms(many, wide), 1),
            atLeast(
              "E = 64: revectorized over the Mixtral block",
              ms(many, "Mixtral block of transformers") / ms(many, wide),
              20,
            ),
          ]),
        chart: {
          title: "One mixture layer, forward and backward",
          unit: "ms, less is better",
          bars: found.flatMap(({ what, measured }) =>
            measured
              .filter(({ contestant }) => contestant !== "Mixtral block of transformers")
              .map(({ contestant, ms: time }) => ({ group: what, label: contestant, value: time })),
          ),
        },
        notes: [
          ...notes,
          `Numbers agree to ${moeTolerance} of the largest, gradients of all weights included.`,
          "PyTorch is the faster of two hand-written layers: a loop over experts, and its grouped product.",
          "What routing, dispatch and combine take is what is left of the layer's time without its experts alone, rows given in order.",
        ],
        data: found,
      };
    }),
};

/** Percent of a layer's time that is not its experts'. Less than nothing is noise, and no measurement. */
const routingShare = (alone: number, layer: number): number => (alone > layer ? NaN : 100 * (1 - alone / layer));
