// Digests of a tensor's leaves while its bytes go by, in order.
import { createHash, type Hash } from 'node:crypto';
import { PithError } from '@pith/tensor-core';
import type { TensorLeaves } from './journal.ts';
import { LEAF_BYTES } from './leaves.ts';

/** Digests of leaves from chunks that come in order. */
export class LeafHasher {
  readonly #name: string;
  readonly #leaves: string[] = [];
  #hash: Hash = createHash('sha256');
  #inLeaf = 0;
  #total = 0;

  /** @param name Of the tensor. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Takes the bytes at `offset`, which must follow those before. */
  add(offset: number, bytes: Uint8Array): void {
    if (offset !== this.#total) throw this.#incomplete(offset);
    for (let at = 0; at < bytes.byteLength;) {
      const count = Math.min(bytes.byteLength - at, LEAF_BYTES - this.#inLeaf);
      this.#hash.update(bytes.subarray(at, at + count));
      at += count;
      this.#inLeaf += count;
      if (this.#inLeaf === LEAF_BYTES) this.#next();
    }
    this.#total += bytes.byteLength;
  }

  /** The leaves of a tensor of `byteLength` bytes, all of which have gone by. */
  finish(byteLength: number): TensorLeaves {
    if (this.#total !== byteLength) throw this.#incomplete(byteLength);
    if (this.#inLeaf > 0) this.#next();
    return { name: this.#name, leafBytes: LEAF_BYTES, leaves: this.#leaves };
  }

  #next(): void {
    this.#leaves.push(this.#hash.digest('hex'));
    this.#hash = createHash('sha256');
    this.#inLeaf = 0;
  }

  #incomplete(at: number): PithError {
    return new PithError(
      'HASHES_INCOMPLETE',
      `write ${this.#name}: bytes must come in order, got ${this.#total} up to ${at}`,
      {
        kind: 'internal',
        details: { name: this.#name, written: this.#total, at },
      },
    );
  }
}
