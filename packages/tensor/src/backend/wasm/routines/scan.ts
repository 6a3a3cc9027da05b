import { identityOf } from "../../../primitives/reduce.ts";
import type { DType } from "../../../types.ts";
import { f32, f64, i32, type I32, type Local } from "../assembler.ts";
import { elementsOf, type Elements } from "./elements.ts";
import { at, eachItem, int, launch, operand, result, rowsOf, shares, type LowerRoutine } from "./routine.ts";

/** Rows in parallel, each from one end to the other. */
export const scan: LowerRoutine<"scan"> = (kernel, _, features) => {
  const { op, reverse, exclusive } = kernel.attrs;
  const { dtype, operands } = kernel;
  const { rows, length } = rowsOf(kernel);
  const { tiles, share } = shares(rows, 2 * length);
  const element = elementsOf(dtype);
  const words = {
    x: operand(operands[0]),
    out: result(kernel),
    length: int(length),
    items: int(rows),
    share: int(share),
  };
  const scanned = launch(features, `scan ${op} ${dtype} ${reverse} ${exclusive}`, words, tiles, (context) => {
    const { f, w } = context;
    const acc = accumulator(dtype);
    const total = f.local(acc.type);
    const i = f.local("i32");
    eachItem(context, w, (row) => {
      const start = f.let(i32.mul(row, w.length));
      const address = (base: I32, position: I32): Local<"i32"> =>
        f.let(at(base, i32.add(start, position), element.bytes));
      f.set(total, acc.constant(identityOf(op, dtype)));
      f.for(i, 0, w.length, 1, () => {
        const position = f.let(reverse ? i32.sub(i32.sub(w.length, 1), i) : i);
        const to = address(w.out, position);
        const x = f.let(acc.load(address(w.x, position)));
        if (exclusive) f.do(acc.store(to, total));
        const combined = { sum: acc.add, prod: acc.mul, max: acc.max }[op];
        f.set(total, combined(total, x));
        if (!exclusive) f.do(acc.store(to, total));
      });
    });
  });
  return { launches: [scanned], temporaries: [] };
};

/** What a running total is held in: f32 sums accumulate in f64 and round on every store, as the definition does. */
function accumulator(dtype: DType): Elements {
  if (dtype !== "f32") return elementsOf(dtype);
  const wide: Elements<"f64"> = {
    ...(elementsOf("f64") as unknown as Elements<"f64">),
    load: (address, offset) => f64.promote_f32(f32.load(address, offset)),
    store: (address, value) => f32.store(address, f32.demote_f64(value)),
  };
  return wide as unknown as Elements;
}
