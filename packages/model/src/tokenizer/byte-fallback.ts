// Byte fallback as the tokenizers library in Rust decodes it: bytes that are no UTF-8 become one U+FFFD each, and a
// byte-order mark is a character like any other. The JavaScript port drops the mark and counts replacements otherwise.

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes a run of byte tokens. */
export function decodeByteRun(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return '\uFFFD'.repeat(bytes.length);
  }
}
