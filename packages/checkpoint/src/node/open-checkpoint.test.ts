import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { isPithError, type PithError } from '@pith/tensor-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tiedEmbeddings } from '../huggingface/tied-embeddings.ts';
import { buildFile } from '../testing/build-safetensors.fixture.ts';
import { openCheckpoint, openSafetensorsFile } from './open-checkpoint.ts';

const INDEX = 'model.safetensors.index.json';
let root = '';
let directory = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-checkpoint-'));
  directory = join(root, 'model');
  mkdirSync(directory);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const put = (name: string, content: string | Uint8Array | object): void =>
  writeFileSync(
    join(directory, name),
    typeof content === 'string' || content instanceof Uint8Array ? content : JSON.stringify(content),
  );
/** A file of u8 tensors of two bytes each. */
const shard = (...names: string[]): Uint8Array =>
  buildFile(
    Object.fromEntries(names.map((name, i) => [name, { dtype: 'U8', shape: [2], data_offsets: [2 * i, 2 * i + 2] }])),
    Uint8Array.from({ length: 2 * names.length }, (_, i) => i),
  );
const failure = async (path = directory): Promise<PithError> => {
  try {
    await openCheckpoint(path);
  } catch (error) {
    if (isPithError(error)) return error;
    throw error;
  }
  throw new Error('accepted');
};

describe('openCheckpoint', () => {
  it('opens a single file', async () => {
    put('config.json', '{"model_type":"llama"}');
    put('model.safetensors', shard('a', 'b'));
    const checkpoint = await openCheckpoint(directory);
    expect(checkpoint.config['model_type']).toBe('llama');
    expect([...checkpoint.tensors.keys()]).toEqual(['a', 'b']);
    expect(await checkpoint.weight('b').toF32()).toEqual(Float32Array.of(2, 3));
    expect(checkpoint.weightFiles).toEqual(['model.safetensors']);
    expect(() => checkpoint.weight('c')).toThrow(expect.objectContaining({ code: 'CHECKPOINT_TENSOR_MISSING' }));
    await checkpoint.close();
    expect(await checkpoint.weight('a').toF32(1, 2)).toEqual(Float32Array.of(1));
    await checkpoint.close();
  });

  it('opens shards by their index, also when there is one', async () => {
    put('config.json', '{}');
    put('one.safetensors', shard('a'));
    put('two.safetensors', shard('b', 'c'));
    put(INDEX, {
      metadata: { total_size: 6 },
      weight_map: { c: 'two.safetensors', a: 'one.safetensors', b: 'two.safetensors' },
    });
    const checkpoint = await openCheckpoint(directory);
    expect([...checkpoint.tensors.values()].map(({ name, file }) => [name, file])).toEqual([
      ['a', 'one.safetensors'],
      ['b', 'two.safetensors'],
      ['c', 'two.safetensors'],
    ]);
    rmSync(join(directory, 'one.safetensors'));
    rmSync(join(directory, 'two.safetensors'));
    put('model.safetensors', shard('a'));
    put(INDEX, { weight_map: { a: 'model.safetensors' } });
    expect((await openCheckpoint(directory)).weightFiles).toEqual(['model.safetensors']);
  });

  it('lists tensors of exotic dtypes, carries their bytes and refuses to convert them', async () => {
    put('config.json', '{}');
    put(
      'model.safetensors',
      buildFile({ e: { dtype: 'F8_E8M0', shape: [2], data_offsets: [0, 2] } }, Uint8Array.of(5, 6)),
    );
    const checkpoint = await openCheckpoint(directory);
    const tensor = checkpoint.tensors.get('e')!;
    expect(tensor).toMatchObject({ dtype: 'f8_e8m0', byteLength: 2 });
    expect(await tensor.source.read(0, 2)).toEqual(Uint8Array.of(5, 6));
    expect(checkpoint.weights.has('e')).toBe(false);
    expect(() => checkpoint.weight('e')).toThrow(/"e" has dtype F8_E8M0.*carried over as bytes but not converted/);
  });

  it('says of every file whether an output carries it', async () => {
    const carried = [
      'generation_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'special_tokens_map.json',
      'added_tokens.json',
      'vocab.json',
      'merges.txt',
      'tokenizer.model',
      'chat_template.jinja',
      'LICENSE',
      'qwen.tiktoken',
    ];
    const left = [
      'README.md',
      'modeling_evil.py',
      'pytorch_model.bin',
      'reference.safetensors',
      'training.log',
      'model.gguf',
    ];
    for (const name of [...carried, ...left]) put(name, '{}');
    mkdirSync(join(directory, 'onnx'));
    put('config.json', '{}');
    put('model.safetensors', shard('a'));
    const { files, generationConfig } = await openCheckpoint(directory);
    expect(
      files
        .filter((file) => file.carried)
        .map((file) => file.name)
        .sort(),
    ).toEqual([...carried].sort());
    for (const file of files) expect(file.carried || (file.reason ?? '').length > 5, file.name).toBe(true);
    expect(files.map((file) => file.name).sort()).toEqual(
      [...carried, ...left, 'config.json', 'model.safetensors', 'onnx'].sort(),
    );
    expect(generationConfig).toBeDefined();
  });

  it('reads config.json as data: nothing in it reaches a prototype', async () => {
    put('model.safetensors', shard('a'));
    put('config.json', '{"__proto__":{"polluted":true}}');
    expect((await failure()).code).toBe('JSON_FORBIDDEN_KEY');
    put('config.json', '{"constructor":{"prototype":{"polluted":true}}}');
    await openCheckpoint(directory);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  describe('refuses', () => {
    const cases: [what: string, code: string, make: () => void, says: RegExp][] = [
      ['no config', 'CHECKPOINT_NO_CONFIG', () => put('model.safetensors', shard('a')), /has none/],
      ['no weights', 'CHECKPOINT_NO_WEIGHTS', () => put('config.json', '{}'), /it has none/],
      [
        'pickle files only',
        'CHECKPOINT_NO_WEIGHTS',
        () => (put('config.json', '{}'), put('pytorch_model.bin', '')),
        /pickle files are never read/,
      ],
      [
        'shards without an index',
        'CHECKPOINT_NO_INDEX',
        () => (put('config.json', '{}'), put('model-00001-of-00002.safetensors', shard('a'))),
        /model-00001-of-00002/,
      ],
      [
        'a single file beside an index',
        'CHECKPOINT_AMBIGUOUS',
        () => (index({ a: 'x.safetensors' }), put('x.safetensors', shard('a')), put('model.safetensors', shard('a'))),
        /has both/,
      ],
      [
        'a missing shard',
        'CHECKPOINT_SHARD_MISSING',
        () => (index({ a: 'x.safetensors', b: 'y.safetensors' }), put('x.safetensors', shard('a'))),
        /1 of 2 are missing \(y\.safetensors\)/,
      ],
      [
        'a tensor that is not in its shard',
        'CHECKPOINT_TENSOR_ABSENT',
        () => (index({ a: 'x.safetensors', b: 'x.safetensors' }), put('x.safetensors', shard('a'))),
        /"b".*not in x\.safetensors/,
      ],
      [
        'a tensor that the index lacks',
        'CHECKPOINT_TENSOR_UNLISTED',
        () => (index({ a: 'x.safetensors' }), put('x.safetensors', shard('a', 'b'))),
        /"b".*does not list it/,
      ],
      [
        'a tensor in two shards',
        'CHECKPOINT_TENSOR_REPEATED',
        () => (
          index({ a: 'x.safetensors', b: 'y.safetensors' }),
          put('x.safetensors', shard('a')),
          put('y.safetensors', shard('b', 'a'))
        ),
        /"a".*in x\.safetensors and in y\.safetensors/,
      ],
      [
        'a tensor in another shard',
        'CHECKPOINT_TENSOR_MISPLACED',
        () => (
          index({ a: 'y.safetensors', b: 'x.safetensors' }),
          put('x.safetensors', shard('a')),
          put('y.safetensors', shard('b'))
        ),
        /"a".*index says y\.safetensors/,
      ],
      [
        'a shard in the parent directory',
        'CHECKPOINT_INDEX_PATH',
        () => index({ a: '../x.safetensors' }),
        /"\.\.\/x\.safetensors".*lies in the directory itself/,
      ],
      ['an absolute shard', 'CHECKPOINT_INDEX_PATH', () => index({ a: '/etc/x.safetensors' }), /directory itself/],
      [
        'a shard by a Windows path',
        'CHECKPOINT_INDEX_PATH',
        () => index({ a: '..\\x.safetensors' }),
        /directory itself/,
      ],
      [
        'a shard on a Windows drive',
        'CHECKPOINT_INDEX_PATH',
        () => index({ a: 'C:x.safetensors' }),
        /directory itself/,
      ],
      ['a shard in a folder', 'CHECKPOINT_INDEX_PATH', () => index({ a: 'sub/x.safetensors' }), /directory itself/],
      [
        'a shard with a second spelling',
        'CHECKPOINT_INDEX_PATH',
        () => index({ a: './x.safetensors' }),
        /directory itself/,
      ],
      ['a shard with a NUL', 'CHECKPOINT_INDEX_PATH', () => index({ a: 'x\0.safetensors' }), /directory itself/],
      ['a shard without a name', 'CHECKPOINT_INDEX_PATH', () => index({ a: '' }), /directory itself/],
      ['a shard that is a pickle', 'CHECKPOINT_INDEX_INVALID', () => index({ a: 'x.bin' }), /no safetensors file/],
      [
        'a tensor twice in the index',
        'CHECKPOINT_INDEX_DUPLICATE_NAME',
        () => (put('config.json', '{}'), put(INDEX, '{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}')),
        /"a" twice/,
      ],
      [
        'two weight maps',
        'CHECKPOINT_INDEX_DUPLICATE_NAME',
        () => (put('config.json', '{}'), put(INDEX, '{"weight_map":{"a":"x.safetensors"},"weight_map":{}}')),
        /"weight_map" twice/,
      ],
      [
        'an index without a map',
        'CHECKPOINT_INDEX_INVALID',
        () => (put('config.json', '{}'), put(INDEX, '{"metadata":{}}')),
        /weight_map/,
      ],
      ['an index with an empty map', 'CHECKPOINT_INDEX_INVALID', () => index({}), /with tensors in it/],
      [
        'an index with a list',
        'CHECKPOINT_INDEX_INVALID',
        () => (put('config.json', '{}'), put(INDEX, '{"weight_map":[]}')),
        /object as its weight_map/,
      ],
      [
        'an index with a number',
        'CHECKPOINT_INDEX_INVALID',
        () => index({ a: 1 as never }),
        /name a file for the tensor "a"/,
      ],
      [
        'an index that is no JSON',
        'CHECKPOINT_INDEX_SYNTAX',
        () => (put('config.json', '{}'), put(INDEX, 'weight_map: {}')),
        /expected/,
      ],
      [
        'an index nested too deep',
        'CHECKPOINT_INDEX_SYNTAX',
        () => (put('config.json', '{}'), put(INDEX, `{"metadata":${'['.repeat(100_000)}`)),
        /64 deep/,
      ],
      [
        'an index that is not UTF-8',
        'CHECKPOINT_INDEX_NOT_UTF8',
        () => (put('config.json', '{}'), put(INDEX, Uint8Array.of(0x7b, 0xff))),
        /UTF-8/,
      ],
      [
        'an index of too many shards',
        'CHECKPOINT_INDEX_TOO_MANY_SHARDS',
        () => index(Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`t${i}`, `${i}.safetensors`]))),
        /10000 shards/,
      ],
      [
        'a huge index',
        'CHECKPOINT_INDEX_TOO_LARGE',
        () => (index({}), truncateSync(join(directory, INDEX), 2 ** 40)),
        /at most 100000000 bytes/,
      ],
      [
        'a huge config',
        'JSON_TOO_LARGE',
        () => (
          put('model.safetensors', shard('a')),
          put('config.json', '{}'),
          truncateSync(join(directory, 'config.json'), 2 ** 40)
        ),
        /at most 16777216 bytes, it has 1099511627776/,
      ],
      ['a deep config', 'JSON_TOO_DEEP', () => put('config.json', `{"a":${'['.repeat(1000)}`), /64 deep/],
      [
        'a config of many values',
        'JSON_TOO_MANY_VALUES',
        () => put('config.json', `{"a":[${'1,'.repeat(500_000)}1]}`),
        /500000 values/,
      ],
      [
        'a damaged generation_config',
        'JSON_SYNTAX',
        () => (put('config.json', '{}'), put('model.safetensors', shard('a')), put('generation_config.json', '{')),
        /generation_config\.json/,
      ],
      [
        'a shard with a damaged header',
        'SAFETENSORS_HEADER_TRUNCATED',
        () => (put('config.json', '{}'), put('model.safetensors', buildFile('{}', 0, 99n))),
        /model\.safetensors/,
      ],
    ];
    const index = (map: Record<string, string>): void => {
      put('config.json', '{}');
      put(INDEX, { weight_map: map });
    };
    it.each(cases)('%s', async (_, code, make, says) => {
      make();
      const error = await failure();
      expect(error.code).toBe(code);
      expect(error.message).toMatch(says);
      expect(error.kind).toBe('input');
    });

    it('a path that is missing, a file, or under a file', async () => {
      expect((await failure(join(root, 'nothing'))).code).toBe('CHECKPOINT_NOT_FOUND');
      writeFileSync(join(root, 'file'), '');
      expect((await failure(join(root, 'file'))).code).toBe('CHECKPOINT_NOT_A_DIRECTORY');
      expect((await failure(join(root, 'file', 'x'))).code).toBe('CHECKPOINT_NOT_FOUND');
    });
  });
});

describe.skipIf(process.platform === 'win32')('links and special files', () => {
  const secret = () => join(root, 'secret');
  beforeEach(() => {
    writeFileSync(secret(), shard('stolen'));
    put('config.json', '{}');
    put('model.safetensors', shard('a'));
  });

  it('refuses a link that leaves the directory, by name and target', async () => {
    unlinkSync(join(directory, 'model.safetensors'));
    symlinkSync('../secret', join(directory, 'model.safetensors'));
    const error = await failure();
    expect(error).toMatchObject({ code: 'CHECKPOINT_LINK_LEAVES', details: { file: 'model.safetensors' } });
    expect(error.message).toContain('secret');
    const allowed = await openCheckpoint(directory, { links: 'anywhere' });
    expect([...allowed.tensors.keys()]).toEqual(['stolen']);
    await allowed.close();
  });

  it('refuses it behind a second link, and config.json and the index as well', async () => {
    unlinkSync(join(directory, 'model.safetensors'));
    symlinkSync('hop', join(directory, 'model.safetensors'));
    symlinkSync('../secret', join(directory, 'hop'));
    expect((await failure()).code).toBe('CHECKPOINT_LINK_LEAVES');
    unlinkSync(join(directory, 'config.json'));
    symlinkSync('../secret', join(directory, 'config.json'));
    expect((await failure()).code).toBe('CHECKPOINT_LINK_LEAVES');
  });

  it('never carries over a link that leaves the directory', async () => {
    symlinkSync('../secret', join(directory, 'tokenizer.json'));
    symlinkSync('/etc/hostname', join(directory, 'merges.txt'));
    const { files, store } = await openCheckpoint(directory);
    expect(files.filter((file) => file.carried)).toEqual([]);
    expect(files.find((file) => file.name === 'tokenizer.json')?.reason).toMatch(/link that leaves/);
    await expect(store.path('tokenizer.json')).rejects.toMatchObject({ code: 'CHECKPOINT_LINK_LEAVES' });
  });

  it('says what it cannot carry over', async () => {
    symlinkSync('nothing', join(directory, 'tokenizer.json'));
    symlinkSync('nothing', join(directory, 'README.md'));
    mkdirSync(join(directory, 'merges.txt'));
    expect((await openCheckpoint(directory)).notices).toEqual([
      'merges.txt is not carried over: it is a folder',
      'tokenizer.json is not carried over: it is no regular file, a link to nothing, or a link out of the directory',
    ]);
  });

  it('does not take an empty name for the current directory', async () => {
    await expect(openCheckpoint('')).rejects.toMatchObject({
      code: 'CHECKPOINT_NOT_FOUND',
      message: expect.stringContaining('empty text') as string,
    });
  });

  it('follows links inside of the directory', async () => {
    symlinkSync('model.safetensors', join(directory, 'x.safetensors'));
    mkdirSync(join(directory, 'sub'));
    writeFileSync(join(directory, 'sub', 'tok'), '{}');
    symlinkSync('sub/tok', join(directory, 'tokenizer.json'));
    const { files } = await openCheckpoint(directory);
    expect(files.find((file) => file.name === 'tokenizer.json')).toMatchObject({ carried: true, byteLength: 2 });
  });

  it('opens a snapshot of the Hugging Face cache, whose files are links into blobs', async () => {
    const repository = join(root, 'models--org--name');
    const snapshot = join(repository, 'snapshots', 'abc123');
    mkdirSync(join(repository, 'blobs'), { recursive: true });
    mkdirSync(snapshot, { recursive: true });
    for (const name of ['config.json', 'model.safetensors']) {
      copyFileSync(join(directory, name), join(repository, 'blobs', `hash-${name}`));
      symlinkSync(`../../blobs/hash-${name}`, join(snapshot, name));
    }
    expect([...(await openCheckpoint(snapshot)).tensors.keys()]).toEqual(['a']);
    symlinkSync('../../../secret', join(snapshot, 'tokenizer.json'));
    const { files } = await openCheckpoint(snapshot);
    expect(files.find((file) => file.name === 'tokenizer.json')?.carried).toBe(false);
  });

  it('follows a link to the directory itself', async () => {
    symlinkSync('model', join(root, 'link'));
    expect((await openCheckpoint(join(root, 'link'))).tensors.size).toBe(1);
  });

  it('refuses links in a circle, to nothing, folders and FIFOs, and does not hang', async () => {
    const replace = async (make: (path: string) => void): Promise<string> => {
      rmSync(join(directory, 'model.safetensors'), { recursive: true, force: true });
      make(join(directory, 'model.safetensors'));
      return (await failure()).code;
    };
    expect(await replace((path) => symlinkSync('model.safetensors', path))).toBe('CHECKPOINT_NOT_READABLE');
    expect(await replace((path) => symlinkSync('nothing', path))).toBe('CHECKPOINT_FILE_MISSING');
    expect(await replace((path) => mkdirSync(path))).toBe('CHECKPOINT_NOT_A_FILE');
    expect(await replace((path) => symlinkSync('/dev/zero', path))).toBe('CHECKPOINT_NOT_A_FILE');
    expect(await replace((path) => execFileSync('mkfifo', [path]))).toBe('CHECKPOINT_NOT_A_FILE');
  });

  it('refuses names that are paths', async () => {
    const { store } = await openCheckpoint(directory);
    for (const name of ['', '.', '..', '../secret', 'sub/x', 'a\\b', 'a\0b', '/etc/hostname']) {
      await expect(store.open(name), name).rejects.toMatchObject({ code: 'CHECKPOINT_NAME_INVALID' });
    }
  });
});

describe('a file that changes while it is read', () => {
  it('is told by its name', async () => {
    put('config.json', '{}');
    put('model.safetensors', shard('a', 'b'));
    const checkpoint = await openCheckpoint(directory);
    truncateSync(join(directory, 'model.safetensors'), 40);
    await expect(checkpoint.weight('b').toF32()).rejects.toMatchObject({ code: 'FILE_TRUNCATED' });
    await checkpoint.close();
    rmSync(join(directory, 'model.safetensors'));
    await expect(checkpoint.weight('b').toF32()).rejects.toMatchObject({ code: 'FILE_READ_FAILED' });
    put('model.safetensors', shard('a', 'b'));
    expect(await checkpoint.weight('b').toF32()).toEqual(Float32Array.of(2, 3));
    await checkpoint.close();
    await expect(openSafetensorsFile(join(directory, 'no'))).rejects.toMatchObject({ code: 'FILE_READ_FAILED' });
  });
});

describe('tiedEmbeddings', () => {
  const make = (tied: boolean | undefined, tensors: Record<string, Uint8Array>) => {
    put('config.json', tied === undefined ? '{}' : { tie_word_embeddings: tied });
    let end = 0;
    const header = Object.fromEntries(
      Object.entries(tensors).map(([name, bytes]) => {
        const start = end;
        end += bytes.length;
        return [name, { dtype: 'U8', shape: [bytes.length], data_offsets: [start, end] }];
      }),
    );
    put('model.safetensors', buildFile(header, Buffer.concat(Object.values(tensors))));
    return openCheckpoint(directory);
  };
  const e = Uint8Array.of(1, 2, 3);
  it.each([
    ['untied', false, { e, h: e }],
    ['untied', undefined, { e, h: e }],
    ['tied', true, { e }],
    ['tied-duplicate', true, { e, h: e }],
    ['conflict', true, { e, h: Uint8Array.of(1, 2, 4) }],
    ['conflict', true, { e, h: Uint8Array.of(1, 2) }],
  ] as const)('is %s', async (expected, tied, tensors) => {
    expect(await tiedEmbeddings(await make(tied, tensors), 'e', 'h')).toBe(expected);
  });
  it('takes the default of an architecture from its caller', async () => {
    expect(await tiedEmbeddings(await make(undefined, { e }), 'e', 'h', true)).toBe('tied');
  });
});

describe.skipIf(!hasShared)('golden checkpoints', () => {
  it.each(['llama', 'qwen2', 'mistral', 'bert', 'gemma2', 'gpt2', 'gpt_neox', 'mixtral', 'opt', 'phi3', 'qwen3'])(
    'opens arch/%s',
    async (name) => {
      const checkpoint = await openCheckpoint(shared(`golden/arch/${name}`));
      expect(checkpoint.weights.size).toBe(checkpoint.tensors.size);
      expect(checkpoint.weights.size).toBeGreaterThan(10);
      expect(checkpoint.files.find((file) => file.name === 'reference.safetensors')?.carried).toBe(false);
      await checkpoint.close();
    },
  );

  it('opens arch/llama-bf16-sharded: both shards, each tensor where the index has it', async () => {
    const path = shared('golden/arch/llama-bf16-sharded');
    const checkpoint = await openCheckpoint(path);
    const { weight_map, metadata } = JSON.parse(readFileSync(join(path, INDEX), 'utf8')) as {
      weight_map: Record<string, string>;
      metadata: { total_size: number };
    };
    expect(Object.fromEntries([...checkpoint.tensors].map(([name, tensor]) => [name, tensor.file]))).toEqual(
      weight_map,
    );
    expect([...checkpoint.tensors.values()].reduce((sum, tensor) => sum + tensor.byteLength, 0)).toBe(
      metadata.total_size,
    );
    expect(await tiedEmbeddings(checkpoint, 'model.embed_tokens.weight', 'lm_head.weight')).toBe('untied');
  });

  it('keeps tied embeddings tied: they are stored once', async () => {
    for (const name of ['golden/arch/qwen2', 'models/stories260k', 'models/docs6m', 'golden/compressed-tensors/base']) {
      const checkpoint = await openCheckpoint(shared(name));
      expect(await tiedEmbeddings(checkpoint, 'model.embed_tokens.weight', 'lm_head.weight'), name).toBe('tied');
      expect(checkpoint.tensors.has('lm_head.weight'), name).toBe(false);
      await checkpoint.close();
    }
  });
});
