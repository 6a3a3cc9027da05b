import { ConfigError } from "@switchyard/tensor";
import type * as node from "./files.node.ts";

const refuse = (): never => {
  throw new ConfigError("a page has no files; pass a URL, a Blob or a Uint8Array");
};
const unavailable = async (): Promise<never> => refuse();

export const readBytes: typeof node.readBytes = unavailable;
export const openFile: typeof node.openFile = unavailable;
export const listDirectory: typeof node.listDirectory = unavailable;
export const exists: typeof node.exists = unavailable;
export const remove: typeof node.remove = unavailable;
export const writeAtomically: typeof node.writeAtomically = unavailable;
export const writeDirectoryAtomically: typeof node.writeDirectoryAtomically = unavailable;
export const createWhole: typeof node.createWhole = unavailable;
export const readIfThere: typeof node.readIfThere = unavailable;
export const moveAside: typeof node.moveAside = unavailable;
export const thisProcess: typeof node.thisProcess = unavailable;
export const hasEnded: typeof node.hasEnded = unavailable;
export const removeWithProcess: typeof node.removeWithProcess = refuse;
export const textBlocks: typeof node.textBlocks = refuse;
export const append: typeof node.append = unavailable;
export const settle: typeof node.settle = unavailable;
export const standing: typeof node.standing = unavailable;
export const makeDirectory: typeof node.makeDirectory = unavailable;
export const digest: typeof node.digest = refuse;
export const pathOf: typeof node.pathOf = refuse;
export const nameOf: typeof node.nameOf = (path) => path.replace(/\/+$/, "").replace(/^.*\//, "");
export const joinPath: typeof node.joinPath = (...parts) => parts.join("/");
