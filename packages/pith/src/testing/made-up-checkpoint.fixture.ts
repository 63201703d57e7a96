// A small checkpoint of any architecture with made-up weights and a tokenizer of single bytes, for tests of formats.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { planOutput } from '@pith/checkpoint';
import { describeArchitecture, expectedTensors, readModelConfig } from '@pith/model';
import { randomStream } from '@pith/tensor-core';

/** A byte-level tokenizer whose vocabulary is the 256 bytes, or as many as there is room for. */
export function byteTokenizer(size = 256): object {
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  const letters = Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
  const split = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: split,
    post_processor: null,
    decoder: split,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(letters.slice(0, size).map((letter, id) => [letter, id])),
      merges: [],
    },
  };
}

/**
 * Writes a directory in f32. Values are multiples of 2^-12 within 1/4 (norms: around 1, or 0 where 1 is added), so that adding 1 to
 * them and taking it away again changes none.
 */
export function writeMadeUpCheckpoint(directory: string, config: Readonly<Record<string, unknown>>): void {
  const architecture = describeArchitecture(readModelConfig(config));
  const random = randomStream(7, String(config['model_type']));
  const linears = architecture.blocks.flatMap((block) => block.linears);
  const turned = new Set(linears.flatMap(({ name, transposed }) => (transposed ? [name] : [])));
  const tensors = expectedTensors(architecture).map(({ name, shape }) => ({
    name,
    dtype: 'f32' as const,
    shape: turned.has(name) ? [...shape].reverse() : shape,
  }));
  const [file] = planOutput(tensors).files;
  const bytes = new Uint8Array(file!.byteLength);
  bytes.set(file!.head);
  for (const { name, offset, byteLength, shape } of file!.tensors) {
    const norm = shape.length === 1 && name.endsWith('weight') && architecture.config.norm.offset === 0;
    const values = Float32Array.from(
      { length: byteLength / 4 },
      () => (random.below(2049) - 1024) / 4096 + (norm ? 1 : 0),
    );
    bytes.set(new Uint8Array(values.buffer), offset);
  }
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, file!.name), bytes);
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config, null, 2));
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(byteTokenizer(architecture.config.vocabularySize)));
}
