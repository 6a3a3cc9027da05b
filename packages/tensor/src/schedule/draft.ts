import { internal } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import type { Shape } from "../types.ts";
import { Body, CannotJoin, type Access, type Reach } from "./body.ts";
import type { Op } from "./canonical.ts";
import type { Operand, Stage, Value, View } from "./plan.ts";
import { contiguous, sameView, type ShapedView } from "./view.ts";

/** A kernel being put together. */
export interface Draft {
  readonly kind: "loop" | "routine";
  /** Its place in the order of execution. */
  readonly position: number;
  readonly outer: Shape;
  readonly row: Shape;
  readonly stages: StageDraft[];
  /** Whether the row is the end of the memory order, so that elementwise ops of the whole space may join. */
  readonly trailing: boolean;
  /** Ops computed here at each point of the whole space, and those computed once per outer point. */
  readonly elements: Set<Op>;
  readonly outers: Set<Op>;
  readonly reduces: Map<Op, number>;
  /** Buffers it reads. */
  readonly reads: Set<number>;
  readonly routine?: { readonly op: Op; readonly operands: readonly Operand[]; readonly rows?: Operand };
  /** Fixed drafts store in an arrangement of their own: nothing joins. */
  readonly fixed: boolean;
}

export interface StageDraft {
  readonly kind: Stage["kind"];
  readonly over: "row" | "outer";
  readonly body: Body;
  readonly reduce?: { readonly op: Op; value: Value };
  readonly stores: { readonly op: Op; readonly buffer: number; readonly view: View; readonly value: Value }[];
}

export const stage = (kind: Stage["kind"], over: "row" | "outer", reduce?: StageDraft["reduce"]): StageDraft => ({
  kind,
  over,
  body: new Body(),
  reduce,
  stores: [],
});

export const spaceOf = (draft: Draft): Shape => [...draft.outer, ...draft.row];

/** How a stored op looks from a draft: whether it can be loaded, is at hand, or must be written again. */
export function reachOf(
  draft: Draft,
  over: "row" | "outer",
  stored: ReadonlySet<Op>,
  placeOf: (op: Op) => Draft | undefined,
  bufferOf: (op: Op) => number,
): Reach {
  const load = (op: Op): Access => {
    const buffer = bufferOf(op);
    draft.reads.add(buffer);
    return { kind: "load", buffer };
  };
  return {
    isStored: (op) => stored.has(op),
    access: (op, view) => {
      if (op.leaf !== undefined) return load(op);
      const place = placeOf(op);
      if (!place) throw internal(`${op.node.op} is read before it is placed`);
      if (place === draft) return accessHere(draft, over, op, view);
      if (place.position > draft.position) throw new CannotJoin();
      return load(op);
    },
    await: (op) => {
      const place = op.leaf === undefined ? placeOf(op) : undefined;
      if (place && place.position >= draft.position) throw new CannotJoin();
    },
  };
}

function accessHere(draft: Draft, over: "row" | "outer", op: Op, view: ShapedView): Access {
  const points = { ...contiguous(over === "row" ? spaceOf(draft) : draft.outer) };
  const outers = over === "row" ? perRow(draft) : points;
  const reduce = draft.reduces.get(op);
  if (reduce !== undefined && sameView(view, outers)) return { kind: "reduced", stage: reduce };
  if (draft.routine?.op === op && sameView(view, points)) return { kind: "result" };
  if (draft.elements.has(op) && sameView(view, points)) return { kind: "inline" };
  if (draft.outers.has(op) && sameView(view, outers)) return { kind: "inline" };
  throw new CannotJoin();
}

/** A value per outer point, seen from the whole space. */
function perRow(draft: Draft): ShapedView {
  const shape = spaceOf(draft);
  return { shape, offset: 0, strides: [...contiguous(draft.outer).strides, ...draft.row.map(() => 0)] };
}

/** Bodies longer than this stay in kernels of their own. */
export const longestBody = 96;

export const points = (draft: Draft): number => sizeOf(draft.outer) * sizeOf(draft.row);
