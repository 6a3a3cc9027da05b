import { ConfigError } from "@switchyard/tensor";
import { positiveInteger } from "@switchyard/tensor/graph";

/**
 * Data whose next steps are under way before they are asked for, so that a step does not wait for a disk or a server.
 *
 * @param data a pure function of the step.
 * @param ahead how many steps beyond the one that was asked for; 2 by default. At most so many batches are held.
 * @returns the same function, quicker: in any order the batches are those of `data`, and each is made once if steps are asked for in order.
 */
export function prefetch<B>(data: (step: number) => B | Promise<B>, ahead = 2): (step: number) => Promise<B> {
  if (!positiveInteger.holds(ahead))
    throw new ConfigError(`prefetch: ahead must be ${positiveInteger.must}, got ${ahead}`);
  const coming = new Map<number, Promise<B>>();
  const begin = (step: number): Promise<B> => {
    const batch = coming.get(step) ?? Promise.resolve(step).then(data);
    batch.catch(() => {}); // whoever asks for the step is told; that nobody has asked yet is no fault
    coming.set(step, batch);
    return batch;
  };
  return (step) => {
    for (const held of coming.keys()) if (held < step || held > step + ahead) coming.delete(held);
    const batch = begin(step);
    for (let next = step + 1; next <= step + ahead; next++) void begin(next);
    coming.delete(step);
    return batch;
  };
}
