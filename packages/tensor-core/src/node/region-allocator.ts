// First-fit allocation of address ranges with merging of free neighbours. It hands out numbers only: the memory itself
// is the caller's.

/** Every address is a multiple of this: a cache line, so that two threads never write to the same one. */
export const REGION_ALIGNMENT = 64;

interface Range {
  readonly at: number;
  readonly byteLength: number;
}

/** Free and used ranges of addresses `start` to `end`. */
export class RegionAllocator {
  /** By address; neighbours never touch. */
  #free: Range[] = [];
  readonly #used = new Map<number, number>();
  #end: number;

  constructor(start: number) {
    this.#end = start;
  }

  /** First address after all ranges, free and used. */
  get end(): number {
    return this.#end;
  }

  /** Bytes in use, rounding included. */
  get usedBytes(): number {
    return [...this.#used.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Moves the end, so that addresses up to `end` can be handed out. */
  extend(end: number): void {
    this.#insert({ at: this.#end, byteLength: end - this.#end });
    this.#end = end;
  }

  /** The address of `bytes` free bytes, now in use; `undefined` when no free range is that long. */
  allocate(bytes: number): number | undefined {
    const byteLength = roundUp(bytes);
    const index = this.#free.findIndex((range) => range.byteLength >= byteLength);
    const range = this.#free[index];
    if (range === undefined) return undefined;
    const rest = { at: range.at + byteLength, byteLength: range.byteLength - byteLength };
    this.#free.splice(index, 1, ...(rest.byteLength > 0 ? [rest] : []));
    this.#used.set(range.at, byteLength);
    return range.at;
  }

  /** Bytes by which the end must move before `bytes` can be handed out. */
  missingBytes(bytes: number): number {
    const last = this.#free.at(-1);
    const atEnd = last !== undefined && last.at + last.byteLength === this.#end ? last.byteLength : 0;
    return Math.max(0, roundUp(bytes) - atEnd);
  }

  /** Frees a range; false when the address is not in use. */
  free(at: number): boolean {
    const byteLength = this.#used.get(at);
    if (byteLength === undefined) return false;
    this.#used.delete(at);
    this.#insert({ at, byteLength });
    return true;
  }

  #insert({ at, byteLength }: Range): void {
    if (byteLength === 0) return;
    let index = this.#free.findIndex((range) => range.at > at);
    if (index < 0) index = this.#free.length;
    const before = this.#free[index - 1];
    const after = this.#free[index];
    const joinsBefore = before !== undefined && before.at + before.byteLength === at;
    const joinsAfter = after !== undefined && at + byteLength === after.at;
    const merged = {
      at: joinsBefore ? before.at : at,
      byteLength: byteLength + (joinsBefore ? before.byteLength : 0) + (joinsAfter ? after.byteLength : 0),
    };
    this.#free.splice(index - (joinsBefore ? 1 : 0), (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), merged);
  }
}

function roundUp(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / REGION_ALIGNMENT)) * REGION_ALIGNMENT;
}
