import { ShapeError } from "../errors.ts";
import { definitionOf, scalarDType, type ScalarOp } from "../scalar.ts";
import { describe, sameShape } from "../shape.ts";
import type { DType } from "../types.ts";
import type { Primitive } from "./primitive.ts";

export interface MapAttrs {
  readonly fn: ScalarOp;
  /** The dtype that `cast` converts to. */
  readonly to?: DType;
}

/** A scalar op applied to each element. Operands have one shape: broadcasting is written with `expand`. */
export const map: Primitive<MapAttrs> = {
  infer: (inputs, { fn, to }) => {
    const { shape } = inputs[0];
    for (const input of inputs) {
      if (!sameShape(input.shape, shape))
        throw new ShapeError(`${fn}: shapes differ (got ${inputs.map(describe).join(", ")})`);
    }
    return { shape, dtype: scalarDType(fn, inputs, to) };
  },
  reference: (out, inputs, { fn, to }) => {
    const f = definitionOf(fn, inputs[0].dtype, to);
    const [a, b, c] = inputs.map((input) => input.data);
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(a[i], b?.[i], c?.[i]);
  },
  key: ({ fn, to }) => (to === undefined ? fn : `${fn}:${to}`),
};
