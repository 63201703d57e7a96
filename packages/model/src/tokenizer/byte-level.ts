// Byte-level BPE writes every byte as one character that is visible: printable ones as themselves, the others as characters from
// U+0100 on, in the order of the bytes (Radford et al. 2019, `bytes_to_unicode`).

const isPrintable = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

let hidden = 0;

/** The character of each byte. */
export const BYTE_CHARACTERS: readonly string[] = Object.freeze(
  Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : 0x100 + hidden++)),
);

const BYTES = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));
const encoder = new TextEncoder();
// A byte-order mark is a character like any other.
const lossy = new TextDecoder('utf-8', { ignoreBOM: true });

/** The UTF-8 bytes of a text, each as its character. */
export function toByteCharacters(text: string): string {
  let characters = '';
  for (const byte of encoder.encode(text)) characters += BYTE_CHARACTERS[byte];
  return characters;
}

/**
 * The text of byte-level tokens; what is no UTF-8 becomes U+FFFD. A token with a character that stands for no byte (an added
 * token with a space) is taken as it is.
 */
export function fromByteCharacters(tokens: readonly string[]): string {
  const bytes: number[] = [];
  for (const token of tokens) {
    const own: number[] = [];
    let known = true;
    for (const character of token) {
      const byte = BYTES.get(character);
      if (byte === undefined) known = false;
      else own.push(byte);
    }
    for (const byte of known ? own : encoder.encode(token)) bytes.push(byte);
  }
  return lossy.decode(Uint8Array.from(bytes));
}
