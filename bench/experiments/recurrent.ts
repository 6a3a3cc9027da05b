import { crossEntropy, random, type Key, type Tensor } from "@switchyard/tensor";
import { embedding, feedForward, linear, lstm, lstmMoe, type Model, type TextBatch } from "@switchyard/moe";
import type { Experiment, Measured } from "./experiment.ts";
import { learner, mobyDick } from "./text.ts";

const [context, batch, steps] = [32, 16, 1200];
const corpus = await mobyDick(context);
const [vocab, dim, hidden, k] = [corpus.tokenizer.size, 64, 64, 4];

/** The model of `lstmMoe` with one network in place of the mixture, as wide as the experts that a token is sent to. */
function lstmDense() {
  const tokens = embedding({ vocab, dim });
  const recurrent = lstm({ in: dim, hidden: dim });
  const network = feedForward({ dim, hidden: k * hidden });
  const head = linear({ in: dim, out: vocab });
  const init = (key: Key) => {
    const [a, b, c, d, e] = random.split(key, 5);
    return {
      embedding: tokens.init(a),
      first: recurrent.init(b),
      network: network.init(c),
      second: recurrent.init(d),
      head: head.init(e),
    };
  };
  type Params = ReturnType<typeof init>;
  return {
    init,
    loss(p: Params, { tokens: ids, targets }: TextBatch) {
      const x = tokens.apply(p.embedding, ids);
      const heard = x.add(recurrent.apply(p.first, x));
      const said = heard.add(network.apply(p.network, heard).sigmoid());
      const loss = crossEntropy(head.apply(p.head, said.add(recurrent.apply(p.second, said))), targets);
      return { loss, crossEntropy: loss };
    },
  } satisfies Model<Params, TextBatch, { loss: Tensor; crossEntropy: Tensor }>;
}

async function trained<P>(
  model: Model<P, TextBatch, { readonly loss: Tensor; readonly crossEntropy: Tensor }>,
  seed: number,
): Promise<Measured> {
  const entrant = await learner({ model, corpus, batch, context, learningRate: 4e-3, seed });
  for (let i = 0; i < steps; i++) await entrant.update();
  return { "held-out loss": await entrant.judge(), "ms an update": (entrant.seconds * 1000) / steps };
}

const dense = "LSTM, one network";
const counts = [8, 32];
const name = (experts: number): string => `LSTM, ${experts} experts, ${k} used`;

export const recurrent: Experiment = {
  claim:
    "Between two LSTM layers a mixture lowers the loss at equal computation for each token. (Shazeer et al. 2017, table 7)",
  task: `Two LSTM layers on the characters of Moby-Dick, ${steps} updates of ${batch} sequences of ${context}`,
  settings: {
    [dense]: (seed) => trained(lstmDense(), seed),
    ...Object.fromEntries(
      counts.map((experts) => [
        name(experts),
        (seed: number) => trained(lstmMoe({ vocab, dim, hidden, experts, k }), seed),
      ]),
    ),
  },
  plotted: "held-out loss",
  checks: counts.map((experts) => ({
    says: `${experts} experts have a held-out loss lower by a hundredth than one network of the same cost`,
    holds: (mean) => mean(name(experts), "held-out loss") < 0.99 * mean(dense, "held-out loss"),
  })),
};
