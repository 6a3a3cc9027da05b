/** A process with work on webgpu, or on what is in its place. The argument says how it means to end: `await` the work and do nothing more, `forget` it, or `exit` while it is under way. */
import { init, ones, realize, type Tensor } from "../../../../src/index.ts";

const device = await init(["webgpu", "cpu"]);
const [how] = process.argv.slice(2);
let x: Tensor = ones([64, 64]);
// So much that a busy machine is not through with it before the timer is.
const products = how === "exit" ? 400 : 4;
for (let i = 0; i < products; i++) x = x.matmul(ones([64, 64])).mul(1 / 64);
console.log(`started on ${device}`);
const done = realize(x).then(() => console.log("done"));
if (how === "exit") setTimeout(() => process.exit(3), 1);
if (how === "await") await done;
