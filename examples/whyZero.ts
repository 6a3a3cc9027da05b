// Why is this router weight's gradient zero? The ledger says: `npm run example examples/whyZero.ts`.
import { init, random, type Tensor } from "@switchyard/tensor";
import { ledger } from "@switchyard/autograd";
import { importanceLoss, moe, softmaxTopK } from "@switchyard/moe";

/** A mixture whose single weights are renormalised, so that they are 1 whatever the router says. */
export async function ledgerOfTop1() {
  const layer = moe({
    dim: 4,
    hidden: 8,
    experts: 4,
    router: softmaxTopK({ k: 1, renormalize: true }),
    losses: { importance: (r) => importanceLoss(r) },
  });
  const params = layer.init(random.key(0));
  const x = random.normal(random.key(1), [6, 4]);
  const book = await ledger((p: typeof params, x: Tensor) => {
    const o = layer.apply(p, x);
    return o.output.square().mean().add(o.balance);
  })(params, x);
  return { book, params };
}

if (import.meta.main) {
  await init("wasm", { debug: true });
  const { book, params } = await ledgerOfTop1();
  const entry = book.of(params.router.gate, [2, 3]); // one element: column 3 is expert 3
  for (const w of entry.why ?? []) console.log(`${w.class?.term ?? "task"}: ${w.reason}: ${w.detail}, ${w.at}`);
  console.log(String(book.by("term")));
}
