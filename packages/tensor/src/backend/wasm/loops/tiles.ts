/** How much of a kernel a tile takes. It depends on shapes and on the price of the code, never on threads. */
import type { LoopKernel, View } from "../../../schedule/plan.ts";
import type { Space } from "./space.ts";

/** Additions of vectors that a tile should take: some ten microseconds. */
const TILE_WORK = 16384;

interface Extent {
  readonly lanes: "outer" | "row";
  readonly cost: number;
  readonly unroll: number;
  readonly points: number;
  readonly lanesExtent: number;
  readonly lineCount: number;
  /** Some array is strided along the lanes. */
  readonly strided: boolean;
}

/** Elements along the lanes of a block of a transposition: what the block touches fits the first-level cache, in whole lines. */
const BLOCK_LANES = 16;

/** How much a tile takes: whole points where the lanes are few, else chunks of the lanes of one point. */
export function tile({ lanes, cost, unroll, points, lanesExtent, lineCount, strided }: Extent) {
  const elements = 2 ** Math.round(Math.log2(Math.min(Math.max((4 * TILE_WORK) / Math.max(cost, 1), 1024), 16384)));
  if (lanes === "row") {
    const pointsPerTile = Math.max(1, Math.floor(elements / Math.max(lanesExtent * lineCount, 1)));
    return { pointsPerTile, chunk: lanesExtent, chunks: 1, tiles: Math.ceil(points / pointsPerTile) };
  }
  const columns = Math.max(unroll, Math.ceil(elements / Math.max(lineCount, 1) / unroll) * unroll);
  const chunk = Math.min(columns, Math.max(lanesExtent, 1), strided ? BLOCK_LANES : Infinity);
  const chunks = Math.ceil(lanesExtent / chunk);
  const pointsPerTile = Math.max(1, Math.floor(columns / chunk));
  return { pointsPerTile, chunk, chunks, tiles: Math.ceil(points / pointsPerTile) * chunks };
}

/** Whether an array is strided along the lanes, so that neighbouring points share its cache lines. */
export function isTransposed(kernel: LoopKernel, space: Space, lanes: "outer" | "row"): boolean {
  const axis = space.axes.findLastIndex(({ over }) => over === lanes);
  const isStrided = (view: View): boolean => Math.abs(space.views.get(view)?.strides[axis] ?? 0) > 1;
  const hasRow = space.axes.some(({ over }) => over === "row");
  return (
    !hasRow &&
    kernel.stages.some(
      (stage) =>
        stage.body.some((step) => (step.op === "load" || step.op === "gather") && isStrided(step.view)) ||
        (stage.kind === "map" && stage.stores.some((store) => isStrided(store.view))),
    )
  );
}
