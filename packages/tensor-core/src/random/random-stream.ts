// Seeded random numbers that do not depend on threads or on what else was drawn: every stream has a name, and every
// draw takes a fixed number of words from a known place of the stream.
import { PithError } from '../errors/pith-error.ts';
import { philox4x32, type Words4 } from './philox.ts';

/**
 * Numbers drawn from one stream, in order.
 *
 * A stream is a row of 32-bit words, word i being word i mod 4 of the {@link philox4x32} block of counter floor(i / 4).
 * `uniform` and `normal` and `below` take two words, `uniform32` and `word` one. `at` jumps.
 */
export class RandomStream {
  readonly #key: readonly [number, number];
  #position: number;
  #block: Words4 = [0, 0, 0, 0];
  #blockIndex = -1;

  /** @internal Use {@link randomStream}. */
  constructor(key: readonly [number, number], position: number) {
    this.#key = key;
    this.#position = position;
  }

  /** Words drawn so far. */
  get position(): number {
    return this.#position;
  }

  /** The same stream from word `position` on. */
  at(position: number): RandomStream {
    requireInteger('position', position, 0, Number.MAX_SAFE_INTEGER);
    return new RandomStream(this.#key, position);
  }

  /** An integer from 0 to 2^32 - 1. */
  word(): number {
    const index = Math.floor(this.#position / 4);
    if (index !== this.#blockIndex) {
      this.#block = philox4x32([index >>> 0, Math.floor(index / 2 ** 32), 0, 0], this.#key);
      this.#blockIndex = index;
    }
    return this.#block[this.#position++ % 4]!;
  }

  /** A number from 0 to below 1: a multiple of 2^-53. */
  uniform(): number {
    const high = this.word() >>> 5;
    const low = this.word() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** A number from 0 to below 1 that f32 holds exactly: a multiple of 2^-24. */
  uniform32(): number {
    return (this.word() >>> 8) / 2 ** 24;
  }

  /**
   * A number from the standard normal distribution, by the cosine half of Box and Muller's transform from two words: at
   * most 6.67 away from 0. Its last bits are those of the host's `log` and `cos`.
   */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log((this.word() + 1) / 2 ** 32));
    return radius * Math.cos((2 * Math.PI * this.word()) / 2 ** 32);
  }

  /**
   * An integer from 0 to `n` - 1. No value is more likely than another by more than a factor of 1 + n * 2^-53.
   *
   * @throws PithError `RANDOM_OPTION` unless n is an integer from 1 to 2^32
   */
  below(n: number): number {
    requireInteger('n', n, 1, 2 ** 32);
    return Math.floor(this.uniform() * n);
  }

  /** The integers from 0 to `n` - 1 in random order (Fisher and Yates, from the end). */
  permutation(n: number): Uint32Array<ArrayBuffer> {
    requireInteger('n', n, 0, 2 ** 32 - 1);
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const moved = order[i]!;
      order[i] = order[j]!;
      order[j] = moved;
    }
    return order;
  }
}

/**
 * The stream of a seed and a name. Streams of different seeds or names are unrelated; the same two always give the same
 * numbers, on every machine and thread.
 *
 * The key is the first two words of the Philox block whose counter is the 64-bit FNV-1a hash of the name in UTF-8
 * and whose key is the seed, low word first.
 *
 * @param name what the numbers are for: `init/model.layers.0`. A number means its decimal digits.
 * @example randomStream(7, 'dropout').uniform()
 * @throws PithError `RANDOM_OPTION` unless seed is an integer from 0 to 2^53 - 1
 */
export function randomStream(seed: number, name: string | number): RandomStream {
  requireInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER);
  const hash = fnv1a64(String(name));
  const [k0, k1] = philox4x32(
    [Number(hash & 0xffffffffn), Number(hash >> 32n), 0, 0],
    [seed >>> 0, Math.floor(seed / 2 ** 32)],
  );
  return new RandomStream([k0, k1], 0);
}

function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash;
}

function requireInteger(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  const text = `random numbers: ${name} must be an integer from ${min} to ${max}, got ${value}`;
  throw new PithError('RANDOM_OPTION', text, { details: { option: name, value, min, max } });
}
