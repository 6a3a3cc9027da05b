import { byteTokenizer, decodePieces } from "@switchyard/moe";
import { expect, test } from "vitest";

const bytes = byteTokenizer();
async function* coming(text: string) {
  yield* bytes.encode(text);
}
const pieces = (...args: Parameters<typeof decodePieces>) => Array.fromAsync(decodePieces(...args));

test("a character that is spread over several tokens comes whole, and none is lost", async () => {
  expect(await pieces(bytes, coming("né – 鯨🐋!"))).toEqual(["n", "é", " ", "–", " ", "鯨", "🐋", "!"]);
});

test("a tokenizer that drops the blank before a text keeps the one between the prompt and what follows", async () => {
  const trimming = { decode: (ids: Iterable<number>) => bytes.decode(ids).replace(/^ /, "") };
  expect((await pieces(trimming, coming(" Ishmael"), bytes.encode(" Call me"))).join("")).toBe(" Ishmael");
});
