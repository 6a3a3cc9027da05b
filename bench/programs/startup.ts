/** Imports a library, does one operation, and prints how long each took, as JSON. The process has done nothing before. */
export interface Startup {
  readonly importMs: number;
  readonly firstMs: number;
}

const began = performance.now();
const times: Startup = process.argv.includes("jax-js") ? await jax() : await ours();
console.log(JSON.stringify(times));
process.exit(0);

async function ours(): Promise<Startup> {
  const { tensor } = await import("@switchyard/tensor");
  const imported = performance.now();
  await tensor([1, 2, 3]).mul(2).sum().item();
  return { importMs: imported - began, firstMs: performance.now() - imported };
}

async function jax(): Promise<Startup> {
  const { defaultDevice, init, numpy: np } = await import("@jax-js/jax");
  const imported = performance.now();
  await init("wasm");
  defaultDevice("wasm");
  await np.array([1, 2, 3]).mul(2).sum().data();
  return { importMs: imported - began, firstMs: performance.now() - imported };
}
