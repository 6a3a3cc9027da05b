/** Sizes of a routing. */
export interface RoutedSizes {
  readonly tokens: number;
  readonly experts: number;
  /** Experts a token is sent to. */
  readonly k: number;
}

/**
 * The coefficient of variation that counts have by chance alone where each token draws its k experts evenly: that of a
 * binomial, `sqrt((1 - k / E) · E / (k T))`. A `cv` of `loadMetrics` near it is as good as balance gets in a batch of that size.
 */
export const samplingFloor = ({ tokens, experts, k }: RoutedSizes): number =>
  Math.sqrt(((1 - k / experts) * experts) / (k * tokens));
