// Holds a run's directory until it is killed, or told by a line to end of its own accord.
import { lockRun } from "../../src/training/runLock.ts";

await lockRun(process.argv[2]);
process.stdin.once("data", () => process.exit(0));
console.log("held");
