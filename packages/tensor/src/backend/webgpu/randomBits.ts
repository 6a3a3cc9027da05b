import type { RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { workgroupSize } from "./shader.ts";

type RandomBits = Extract<RoutineKernel, { op: "randomBits" }>;

const rotations = [13, 15, 26, 6, 17, 29, 16, 24];

/** Threefry-2x32-20, written out: the same bits as everywhere. One invocation makes a pair. */
export function lowerRandomBits({ name, operands, shape, epilogue }: RandomBits, lowering: Lowering): Lowered {
  const size = sizeOf(shape);
  if (size === 0) return [];
  const shader = shaderFor(lowering);
  const [key, stream] = operands;
  const keys = shader.read(key.buffer, "u32");
  const at = shader.uint(key.view.offset);
  const to = shader.write(epilogue.stores[0].buffer, "u32");
  const rounds = Array.from({ length: 20 }, (_, round) => {
    const by = rotations[round % 8];
    const mix = `x0 += x1; x1 = ((x1 << ${by}u) | (x1 >> ${32 - by}u)) ^ x0;`;
    if (round % 4 !== 3) return mix;
    const s = (round + 1) / 4;
    return `${mix} x0 += k${s % 3}; x1 += k${(s + 1) % 3} + ${s}u;`;
  });
  const main = `let pair = group * ${workgroupSize}u + local;
let size = ${shader.uint(size)};
if (pair * 2u >= size) { return; }
let k0 = ${keys}[${at}];
let k1 = ${keys}[${at} + 1u];
let k2 = 0x1bd11bdau ^ k0 ^ k1;
var x0 = pair + k0;
var x1 = ${shader.read(stream.buffer, "u32")}[${shader.uint(stream.view.offset)}] + k1;
${rounds.join("\n")}
${to}[pair * 2u] = x0;
if (pair * 2u + 1u < size) { ${to}[pair * 2u + 1u] = x1; }`;
  return [shader.finish(name, main, Math.ceil(size / 2 / workgroupSize))];
}
