// SHA-256 over fixed leaves, so that several threads can hash one tensor, a damaged tensor can be named, and an
// interrupted run need not read what it has hashed. A tree hash is SHA-256 over the digests (32 bytes each) of the leaves
// in order; leaf i holds bytes i*leafBytes to (i+1)*leafBytes of the tensor's stored bytes, the last one may be shorter,
// and an empty tensor has no leaf. This is not the plain SHA-256 of the bytes, also where there is one leaf only.
import { createHash } from 'node:crypto';

/** Part of a tensor's stored bytes. */
export interface Span {
  readonly offset: number;
  readonly length: number;
}

/** The leaves of `byteLength` bytes. */
export function leafSpans(byteLength: number, leafBytes: number): Span[] {
  const spans: Span[] = [];
  for (let offset = 0; offset < byteLength; offset += leafBytes) {
    spans.push({ offset, length: Math.min(leafBytes, byteLength - offset) });
  }
  return spans;
}

/** Hash over the digests of leaves, all in lower-case hexadecimal. */
export function treeHash(leaves: readonly string[]): string {
  const hash = createHash('sha256');
  for (const leaf of leaves) hash.update(Buffer.from(leaf, 'hex'));
  return hash.digest('hex');
}

/** SHA-256 of bytes or text in lower-case hexadecimal. */
export function sha256(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex');
}
