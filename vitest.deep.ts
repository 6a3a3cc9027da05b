// Properties that do not say otherwise run 1,000 cases instead of 100. A plain test must come from `vitest`: one made
// with the `test` of `@fast-check/vitest` counts as a property, and would run a thousand times.
import fc from "fast-check";

fc.configureGlobal({ numRuns: 1000 });
