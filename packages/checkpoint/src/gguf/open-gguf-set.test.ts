import { isPithError, memoryBytes, PithError, randomStream, type ByteSource } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { planGguf } from './encode-header.ts';
import type { GgufValue } from './gguf-file.ts';
import { mutate } from '../testing/mutate.fixture.ts';
import { openGgufSet } from './open-gguf-set.ts';

/** A file of a split model with one tensor. */
function shard(no: number, count: number, tensor: string, total = count): Uint8Array {
  const metadata = new Map<string, GgufValue>([
    ...(no === 0 ? [['general.name', { type: 'string', value: 'split' }] as [string, GgufValue]] : []),
    ['split.no', { type: 'uint16', value: no }],
    ['split.count', { type: 'uint16', value: count }],
    ['split.tensors.count', { type: 'int32', value: total }],
  ]);
  const { header, byteLength } = planGguf(metadata, [{ name: tensor, type: 'f32', shape: [2] }]);
  const bytes = new Uint8Array(byteLength);
  bytes.set(header);
  return bytes;
}

const three = (): Record<string, Uint8Array> => ({
  'x-00001-of-00003.gguf': shard(0, 3, 'a'),
  'x-00002-of-00003.gguf': shard(1, 3, 'b'),
  'x-00003-of-00003.gguf': shard(2, 3, 'c'),
});

function opener(files: Record<string, Uint8Array>) {
  return async (name: string): Promise<ByteSource> => {
    const bytes = files[name];
    if (bytes === undefined) throw new PithError('CHECKPOINT_FILE_MISSING', `${name} is missing`);
    return memoryBytes(bytes);
  };
}

const open = (files: Record<string, Uint8Array>, name = 'x-00001-of-00003.gguf') =>
  openGgufSet(opener(files), name, name);

describe('openGgufSet', () => {
  it('opens the files of a split model as one', async () => {
    const set = await open(three());
    expect([...set.tensors.keys()]).toEqual(['a', 'b', 'c']);
    expect(set.files).toEqual(Object.keys(three()));
    expect(set.fileOf.get('b')).toBe('x-00002-of-00003.gguf');
    expect(set.metadata.get('general.name')).toEqual({ type: 'string', value: 'split' });
  });

  it('opens a file that is whole, whatever it is called', async () => {
    expect((await open({ 'y.gguf': shard(0, 1, 'a', 1) }, 'y.gguf')).files).toEqual(['y.gguf']);
  });

  it.each<[string, () => Record<string, Uint8Array>, string]>([
    ['GGUF_SPLIT_NAME', () => ({ 'y.gguf': shard(0, 3, 'a') }), 'y.gguf'],
    ['GGUF_SPLIT_NAME', () => ({ 'x-00001-of-00002.gguf': shard(0, 3, 'a') }), 'x-00001-of-00002.gguf'],
    ['GGUF_SPLIT_NOT_FIRST', three, 'x-00002-of-00003.gguf'],
    ['CHECKPOINT_FILE_MISSING', () => ({ ...three(), 'x-00003-of-00003.gguf': undefined! }), 'x-00001-of-00003.gguf'],
    ['GGUF_SPLIT_REPEATED', () => ({ ...three(), 'x-00003-of-00003.gguf': shard(0, 3, 'c') }), 'x-00001-of-00003.gguf'],
    ['GGUF_SPLIT_INVALID', () => ({ ...three(), 'x-00002-of-00003.gguf': shard(2, 3, 'b') }), 'x-00001-of-00003.gguf'],
    ['GGUF_SPLIT_INVALID', () => ({ ...three(), 'x-00002-of-00003.gguf': shard(1, 4, 'b') }), 'x-00001-of-00003.gguf'],
    [
      'GGUF_SPLIT_INVALID',
      () => ({ ...three(), 'x-00001-of-00003.gguf': shard(0, 3, 'a', 7) }),
      'x-00001-of-00003.gguf',
    ],
    [
      'GGUF_DUPLICATE_TENSOR',
      () => ({ ...three(), 'x-00003-of-00003.gguf': shard(2, 3, 'a') }),
      'x-00001-of-00003.gguf',
    ],
    ['GGUF_LIMIT_EXCEEDED', () => ({ 'x-00001-of-60000.gguf': shard(0, 60_000, 'a') }), 'x-00001-of-60000.gguf'],
  ])('refuses %s', async (code, files, name) => {
    await expect(open(files(), name)).rejects.toMatchObject({ code });
  });

  it('does not leave the directory, whatever a name holds', async () => {
    const asked: string[] = [];
    const name = '../../x-00001-of-00002.gguf';
    const read = async (one: string): Promise<ByteSource> => {
      asked.push(one);
      if (one !== name) throw new PithError('CHECKPOINT_NAME_INVALID', one);
      return memoryBytes(shard(0, 2, 'a'));
    };
    await expect(openGgufSet(read, name, 'x')).rejects.toMatchObject({ code: 'CHECKPOINT_NAME_INVALID' });
    expect(asked).toHaveLength(2);
  });

  it('opens soundly or refuses by name, whichever file is damaged, given twice, or taken for another', async () => {
    const random = randomStream(20261127, 'split');
    const codes = new Map<string, number>();
    const names = Object.keys(three());
    for (let i = 0; i < 1500; i++) {
      const files = three();
      const [name, other] = [names[random.below(3)]!, names[random.below(3)]!];
      switch (random.below(6)) {
        case 0:
          files[name] = files[other]!;
          break;
        case 1:
          delete files[name];
          break;
        case 2:
          // Which of how many: numbers of their own.
          files[name] = shard(
            random.below(5),
            random.below(2) === 0 ? 3 : random.below(70_000),
            'abc'[random.below(3)]!,
            3,
          );
          break;
        default:
          files[name] = mutate(files[name]!, random);
      }
      let opened = 0;
      const open = async (wanted: string): Promise<ByteSource> => {
        opened += 1;
        return opener(files)(wanted);
      };
      try {
        const set = await openGgufSet(open, names[0]!, 'x');
        expect(set.tensors.size).toBe(set.fileOf.size);
        codes.set('opened', (codes.get('opened') ?? 0) + 1);
      } catch (error) {
        if (!isPithError(error) || error.kind !== 'input') throw new Error(`case ${i}`, { cause: error });
        codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
      }
      // No file is read twice, and none that the name does not stand for.
      expect(opened, `case ${i}`).toBeLessThanOrEqual(3);
    }
    expect([...codes.keys()]).toEqual(
      expect.arrayContaining([
        'opened',
        'CHECKPOINT_FILE_MISSING',
        'GGUF_SPLIT_REPEATED',
        'GGUF_SPLIT_INVALID',
        'GGUF_SPLIT_NAME',
        'GGUF_LIMIT_EXCEEDED',
      ]),
    );
  });
});
