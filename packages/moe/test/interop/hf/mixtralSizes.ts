/** What the config of a small Mixtral says beside the sizes that `transformer` takes. */
export const mixtralSizes = { experts: 4, k: 2, renormalize: true, rope: 10_000, normEps: 1e-5, tie: true };
