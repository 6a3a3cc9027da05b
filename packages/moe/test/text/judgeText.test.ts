import { init, random, tensor, type Tensor } from "@switchyard/tensor";
import { judgeText, successiveBatches, transformer } from "@switchyard/moe";
import { beforeAll, expect, test } from "vitest";

beforeAll(() => init("cpu"));

const ids = Int32Array.from({ length: 61 }, (_, i) => (i * i) % 7);
const batches = () => successiveBatches(ids, { batch: 2, context: 6 });

test("scores are those of a loop over every token", async () => {
  const model = transformer({ vocab: 7, dim: 8, layers: 1, heads: 2, hidden: 8, context: 6, moe: null });
  const params = model.init(random.key(0));
  let [nats, right, count] = [0, 0, 0];
  for (let first = 0; first + 6 < ids.length; first += 6) {
    const { logits } = model.apply(params, tensor([[...ids.subarray(first, first + 6)]], { dtype: "i32" }));
    const rows = (await logits.toArray()) as number[][][];
    for (const [i, row] of rows[0].entries()) {
      const target = ids[first + i + 1];
      nats += Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[target];
      right += Number(row.indexOf(Math.max(...row)) === target);
      count++;
    }
  }
  const scores = await judgeText(model, params, batches(), (targets) => 3 * targets.length);
  expect([scores.tokens, scores.accuracy]).toEqual([count, expect.closeTo(right / count, 6)]);
  expect(scores.crossEntropy).toBeCloseTo(nats / count, 5);
  expect(scores.perplexity).toBeCloseTo(Math.exp(nats / count), 4);
  expect(scores.bitsPerByte).toBeCloseTo(nats / count / Math.LN2 / 3, 5);
});

test("a model that knows the text has perplexity 1, and one that knows nothing the size of the vocabulary", async () => {
  const next = (tokens: Tensor, sure: number) => ({ logits: after(tokens).mul(sure) });
  const after = (tokens: Tensor) =>
    tensor([0, 1, 2, 3, 4, 5, 6]).eq(tokens.add(1).mod(7).cast("f32").expandDims(-1)).cast("f32");
  const counting = successiveBatches(
    Int32Array.from({ length: 25 }, (_, i) => i % 7),
    { batch: 2, context: 6 },
  );
  const score = (sure: number) =>
    judgeText({ apply: (_: null, tokens) => next(tokens, sure) }, null, counting, (t) => t.length);
  const [known, unknown] = [await score(100), await score(0)];
  expect([known.perplexity, known.accuracy]).toEqual([expect.closeTo(1), 1]);
  expect(unknown.perplexity).toBeCloseTo(7, 4);
});
