// Seeded damage to JSON values, for fuzz tests of readers.
import type { RandomStream } from '@pith/tensor-core';

const STRANGE: readonly unknown[] = [
  null, true, -1, 0, 0.5, 1e308, NaN, Infinity, 2 ** 31, 2 ** 53, '', 'x'.repeat(100_000), '\uD800', '__proto__', [], {}, [[]], [null],
]; // prettier-ignore

/** A copy with one to three places changed: replaced by something strange, left out, doubled, or moved elsewhere. */
export function mutateJson(value: unknown, random: RandomStream): unknown {
  const copy = structuredClone(value);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const places: [Record<string, unknown>, string][] = [];
    const walk = (node: unknown): void => {
      if (typeof node !== 'object' || node === null) return;
      for (const key of Object.keys(node)) {
        places.push([node as Record<string, unknown>, key]);
        walk((node as Record<string, unknown>)[key]);
      }
    };
    walk(copy);
    if (places.length === 0) return copy;
    const [parent, key] = places[random.below(places.length)];
    const other = places[random.below(places.length)];
    switch (random.below(5)) {
      case 0:
        delete parent[key];
        break;
      case 1:
        parent[key] = structuredClone(other[0][other[1]] ?? null);
        break;
      case 2:
        if (typeof parent[key] === 'number') parent[key] *= [-1, 0, 1000, 1e12, 1.5][random.below(5)];
        else parent[key] = [structuredClone(parent[key]), structuredClone(parent[key])];
        break;
      default:
        parent[key] = structuredClone(STRANGE[random.below(STRANGE.length)]);
    }
  }
  return copy;
}
