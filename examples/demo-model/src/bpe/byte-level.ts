// The byte-level alphabet and the word pattern of GPT-2: text becomes words, words become printable characters, one for
// each UTF-8 byte. Every text can be written with the 256 characters, so there is no unknown token.
// Source: Radford et al. 2019, section 2.2; the pre-tokenizer that tokenizer.json calls `ByteLevel`.

/** Contractions, letters, digits, other signs (each with the space before it), and runs of space. */
const WORD = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

const isPrintable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;

/** The character of each byte: printable bytes stand for themselves, the others follow from U+0100 on, in order. */
export const byteCharacters: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrintable(byte) ? byte : next++));
})();

const encoder = new TextEncoder();

/** Cuts a text into words, each written in the byte-level alphabet: `"a cow"` becomes `["a", "Ġcow"]`. */
export function byteLevelWords(text: string): string[] {
  return (text.match(WORD) ?? []).map((word) => {
    let characters = '';
    for (const byte of encoder.encode(word)) characters += byteCharacters[byte];
    return characters;
  });
}
