import type { RecordedChoices } from "./expertParallel.ts";

/** Choices of k distinct experts that each token draws evenly: what balance looks like by chance. The same every time. */
export function evenChoices(tokens: number, experts: number, k: number): RecordedChoices {
  const draw = generator();
  const order = Array.from({ length: experts }, (_, e) => e);
  const choose = (): number[] => {
    // The first k steps of a shuffle.
    for (let i = 0; i < k; i++) {
      const j = i + Math.floor(draw() * (experts - i));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order.slice(0, k);
  };
  return { expertCount: experts, experts: Array.from({ length: tokens }, choose) };
}

/** Numbers of [0, 1), by a linear congruence with its high bits: a picture needs no better ones. */
function generator(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
