import { describe, expect, it } from 'vitest';
import { REGION_ALIGNMENT, RegionAllocator } from './region-allocator.ts';

describe('RegionAllocator', () => {
  it('hands out aligned ranges that do not overlap, and merges what is freed', () => {
    const allocator = new RegionAllocator(128);
    expect(allocator.allocate(1)).toBeUndefined();
    allocator.extend(128 + 640);
    const [a, b, c] = [allocator.allocate(100), allocator.allocate(64), allocator.allocate(1)];
    expect([a, b, c]).toEqual([128, 256, 320]);
    expect(allocator.usedBytes).toBe(256);
    allocator.free(b!);
    allocator.free(a!); // joins the range after
    expect(allocator.allocate(192)).toBe(128);
    allocator.free(c!); // joins the rest
    expect(allocator.allocate(448)).toBe(320);
    expect(allocator.allocate(1)).toBeUndefined();
  });

  it('says how far the end must move, counting a free range at the end', () => {
    const allocator = new RegionAllocator(0);
    allocator.extend(256);
    expect(allocator.missingBytes(300)).toBe(320 - 256);
    const at = allocator.allocate(256)!;
    expect(allocator.missingBytes(1)).toBe(64);
    expect(allocator.free(at)).toBe(true);
    expect(allocator.free(at)).toBe(false);
  });

  it('keeps its books through a thousand random steps', () => {
    const allocator = new RegionAllocator(0);
    allocator.extend(64 * 1024);
    const used = new Map<number, number>();
    let state = 1;
    const next = (n: number) => (state = (state * 48271) % 2147483647) % n;
    for (let step = 0; step < 1000; step++) {
      const keys = [...used.keys()];
      if (keys.length > 0 && next(2) === 0) {
        const at = keys[next(keys.length)]!;
        expect(allocator.free(at)).toBe(true);
        used.delete(at);
        continue;
      }
      const bytes = 1 + next(4000);
      const at = allocator.allocate(bytes);
      if (at === undefined) continue;
      expect(at % REGION_ALIGNMENT).toBe(0);
      expect(at + bytes).toBeLessThanOrEqual(64 * 1024);
      for (const [other, length] of used) expect(at + bytes <= other || other + length <= at).toBe(true);
      used.set(at, bytes);
    }
    for (const at of used.keys()) allocator.free(at);
    expect(allocator.usedBytes).toBe(0);
    expect(allocator.allocate(64 * 1024)).toBe(0); // all merged again
  });
});
