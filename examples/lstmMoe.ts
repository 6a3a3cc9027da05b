// A language model put together by hand: embedding, LSTM, one mixture for all time steps, LSTM, softmax (Shazeer et al. 2017, appendix C.1).
// `npm run example examples/trainLstmMoe.ts` trains it; livePage.ts does in a page.
import { crossEntropy, random, scope, type Key, type Tensor } from "@switchyard/tensor";
import { embedding, importanceLoss, linear, loadLoss, lstm, moe, noisyTopK, type Model } from "@switchyard/moe";

const D = 64;
export const vocab = 96;
const embed = embedding({ vocab, dim: D });
const first = lstm({ in: D, hidden: D });
const second = lstm({ in: D, hidden: D });
const head = linear({ in: D, out: vocab });
const mixture = moe({
  dim: D,
  hidden: 128,
  experts: 32,
  router: noisyTopK({ k: 4 }),
  losses: { importance: (r) => importanceLoss(r, { weight: 0.1 }), load: (r) => loadLoss(r, { weight: 0.1 }) },
});

const init = (key: Key) => {
  const k = random.split(key, 5);
  return {
    embed: embed.init(k[0]),
    first: first.init(k[1]),
    mixture: mixture.init(k[2]),
    second: second.init(k[3]),
    head: head.init(k[4]),
  };
};
type Params = ReturnType<typeof init>;

export const model = {
  init,
  loss(
    p: Params,
    { tokens, targets }: { tokens: Tensor; targets: Tensor },
    { train, key }: { train: boolean; key: Key },
  ) {
    const h = first.apply(p.first, embed.apply(p.embed, tokens)); // [B, S, D]
    const { output, balance, routing } = scope("mixture", () => mixture.apply(p.mixture, h, { train, key })); // all B·S steps as one batch
    const logits = head.apply(p.head, second.apply(p.second, output.sigmoid().add(h)));
    return { loss: crossEntropy(logits, targets).add(balance), routing };
  },
} satisfies Model<Params, { tokens: Tensor; targets: Tensor }, { loss: Tensor; routing: unknown }>;
