// Properties that do not say otherwise run 1,000 cases instead of 100.
import fc from "fast-check";

fc.configureGlobal({ numRuns: 1000 });
