import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { leafSpans, sha256, treeHash } from './hash-tree.ts';

it('leaves cover the bytes without gap or overlap', () => {
  expect(leafSpans(10, 4)).toEqual([
    { offset: 0, length: 4 },
    { offset: 4, length: 4 },
    { offset: 8, length: 2 },
  ]);
  expect(leafSpans(8, 4)).toHaveLength(2);
  expect(leafSpans(0, 4)).toEqual([]);
});

it('a tree hash is the hash of the digests in order, also of one and of none', () => {
  const [a, b] = [sha256('a'), sha256('b')];
  const plain = createHash('sha256');
  plain.update(createHash('sha256').update('a').digest());
  plain.update(createHash('sha256').update('b').digest());
  expect(treeHash([a, b])).toBe(plain.digest('hex'));
  expect(treeHash([b, a])).not.toBe(treeHash([a, b]));
  expect(treeHash([a])).not.toBe(a);
  expect(treeHash([])).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
});
