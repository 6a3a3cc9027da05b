import { arange, ConfigError, defaultDevice, random, tensor, type Tensor } from "@switchyard/tensor";
import { checkOptions, positiveInteger, requireOptions } from "@switchyard/tensor/graph";

/** Sequences and, for each position, the token that follows. */
export interface TextBatch {
  /** `i32[B, S]`. */
  readonly tokens: Tensor;
  /** `i32[B, S]`. */
  readonly targets: Tensor;
}

export interface BatchSizes {
  /** B. */
  readonly batch: number;
  /** S. */
  readonly context: number;
}

/**
 * Sequences drawn from anywhere in a text: a pure function of the step, and nothing but the seed decides which. The text lies on
 * the device, and a batch is a gather from it.
 */
export function randomBatches(ids: Int32Array, sizes: BatchSizes, seed: number): (step: number) => TextBatch {
  checkSizes("randomBatches", ids, sizes);
  const { batch, context } = sizes;
  const text = residentText(ids);
  return (step) => {
    const key = random.fold(random.key(seed), step);
    return batchAt(text(), random.randint(key, [batch, 1], { max: ids.length - context }), context);
  };
}

/**
 * The sequences of a text one after the other, without overlap; a rest shorter than a batch is left out.
 *
 * @returns how many batches there are, and each of them.
 */
export function successiveBatches(
  ids: Int32Array,
  { batch, context }: BatchSizes,
): { readonly count: number; readonly at: (index: number) => TextBatch } {
  const text = residentText(ids);
  const count = Math.floor((ids.length - 1) / (batch * context));
  return {
    count,
    at: (index) => {
      const first = arange(batch)
        .mul(context)
        .add(index * batch * context)
        .expandDims(1); // [B, 1]
      return batchAt(text(), first, context);
    },
  };
}

/** @throws {ConfigError} if a size is wrong, or the text is too short for one sequence and its last target. */
function checkSizes(op: string, ids: Int32Array, sizes: BatchSizes): void {
  checkOptions(op, sizes, { batch: positiveInteger, context: positiveInteger });
  requireOptions(op, sizes, "batch", "context");
  if (ids.length <= sizes.context)
    throw new ConfigError(
      `${op}: a sequence of ${sizes.context} and its last target need ${sizes.context + 1} tokens, but the text has ${ids.length}; give a longer text or a smaller context`,
    );
}

/** A text on the default device, put there by the first batch: a program may choose its device after its data. */
function residentText(ids: Int32Array): () => Tensor {
  let text: Tensor | undefined;
  return () => (text?.device === defaultDevice() ? text : (text = tensor(ids)));
}

/** @param first `i32[B, 1]`: where in the text each sequence begins. */
function batchAt(text: Tensor, first: Tensor, context: number): TextBatch {
  const at = first.add(arange(context)); // [B, S]
  return { tokens: text.gather(at), targets: text.gather(at.add(1)) };
}
