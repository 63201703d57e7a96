import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compressedFormat, storedPieces } from '@pith/checkpoint';
import { describeArchitecture, readModelConfig } from '@pith/model';
import { byteLengthOf, type DType, type QuantizationScheme } from '@pith/tensor-core';
import { hasShared } from '@pith-tooling/vitest/shared';
import { readGolden } from '../golden.fixture.ts';
import { shared } from '@pith-tooling/vitest/shared';
import { parseScheme } from '../scheme/parse-scheme.ts';
import { quantizedPieces } from './pieces.ts';
import { planRtn, type ModuleTable } from './plan-rtn.ts';
import { rtnConfig } from './rtn-config.ts';
import type { PlannedTensor, RtnOptions } from './rtn-types.ts';

const linear = (path: string, block: number | null, outFeatures: number, inFeatures: number) => ({
  ...{ path, name: `${path}.weight`, biasName: null, role: 'query' as const, block, inFeatures, outFeatures },
  ...{ bias: false, inputGroup: path, normBefore: null, fedBy: [], heads: null, tied: false },
  ...{ parts: [], expert: null, shared: false, transposed: false },
});

const TABLE: ModuleTable = {
  embedding: { path: 'model.embed_tokens', name: 'model.embed_tokens.weight', rows: 100, columns: 64 },
  head: { ...linear('lm_head', null, 100, 64), role: 'head' },
  blocks: [0, 1].map((block) => ({
    linears: [
      linear(`model.layers.${block}.q_proj`, block, 64, 64),
      linear(`model.layers.${block}.down_proj`, block, 64, 172),
    ],
  })),
};

const tensor = (name: string, shape: readonly number[], dtype: DType = 'bf16'): PlannedTensor => ({
  name,
  dtype,
  shape,
  byteLength: byteLengthOf(
    dtype,
    shape.reduce((a, b) => a * b, 1),
  ),
});

const TENSORS = [
  tensor('model.embed_tokens.weight', [100, 64]),
  ...[0, 1].flatMap((block) => [
    tensor(`model.layers.${block}.q_proj.weight`, [64, 64]),
    tensor(`model.layers.${block}.down_proj.weight`, [64, 172]),
    tensor(`model.layers.${block}.norm.weight`, [64]),
  ]),
  tensor('lm_head.weight', [100, 64]),
];

const plan = (options: RtnOptions, tensors = TENSORS, table = TABLE) => planRtn(table, tensors, rtnConfig(options));
const quantized = (options: RtnOptions) =>
  plan(options)
    .tensors.filter(({ action }) => action === 'quantize')
    .map(({ module }) => module);

describe('planRtn', () => {
  it('quantizes the linear layers of the blocks, keeps the rest and says why', () => {
    const { tensors, keptLinears, problems, bytesBefore, bytesAfter, bitsPerWeight } = plan({ scheme: 'w4' });
    expect(problems).toEqual([]);
    expect(tensors.map(({ action }) => action).join(' ')).toBe(
      'keep quantize quantize keep quantize quantize keep keep',
    );
    expect(tensors[0]!.reason).toMatch(/token embedding/);
    expect(tensors[3]!.reason).toMatch(/norm or bias/);
    expect(tensors[7]!.reason).toMatch(/output projection.*include "lm_head"/);
    expect(keptLinears).toEqual(['lm_head']);
    const perBlock = 64 * 32 + 64 * 2 + 64 * 88 + 64 * 2; // 172 codes of 4 bits take 22 words
    expect(bytesAfter).toBe(2 * perBlock + 2 * 128 + 2 * 100 * 64 * 2);
    expect(bytesBefore).toBe(TENSORS.reduce((sum, { byteLength }) => sum + byteLength, 0));
    expect(bitsPerWeight).toBe((8 * 2 * perBlock) / (2 * 64 * (64 + 172)));
    for (const { quantize, bytesAfter: bytes } of tensors) {
      if (quantize) expect(quantize.pieces.reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(bytes);
    }
  });

  it('lists every weight that groups do not divide, and what fits', () => {
    const { problems, tensors } = plan({ scheme: 'w4g64' });
    expect(problems.map(({ name, code }) => [name, code])).toEqual([
      ['model.layers.0.down_proj.weight', 'GROUP_DOES_NOT_DIVIDE'],
      ['model.layers.1.down_proj.weight', 'GROUP_DOES_NOT_DIVIDE'],
    ]);
    expect(problems[0]!.message).toMatch(/172 columns, which groups of 64 do not divide/);
    expect(problems[0]!.remedy).toMatch(/4, 43, 86, 172.*"w4"/);
    expect(tensors[2]).toMatchObject({ action: 'keep', reason: expect.stringMatching(/cannot be quantized/) });
    expect(plan({ scheme: 'w4g43-asym' }).problems[0]!.remedy).toMatch(/"w4-asym"/);
  });

  it('lists every weight whose inputs groups do not divide, unless inputs are left alone', () => {
    const { problems } = plan({ scheme: 'fp8-block' });
    expect(problems.map(({ code }) => code)).toEqual(new Array(4).fill('GROUP_DOES_NOT_DIVIDE'));
    expect(problems[0]!.message).toMatch(/64 columns, which groups of 128 inputs do not divide/);
    expect(problems[0]!.remedy).toMatch(/fp8-block-a16/);
    expect(plan({ scheme: 'fp8-block-a16' }).problems).toEqual([]);
  });

  it('follows include and ignore patterns', () => {
    expect(quantized({ scheme: 'w4', ignore: ['down_proj'] })).toEqual([
      'model.layers.0.q_proj',
      'model.layers.1.q_proj',
    ]);
    expect(quantized({ scheme: 'w4', include: ['layers.1', 'lm_head'] })).toEqual([
      'model.layers.1.q_proj',
      'model.layers.1.down_proj',
      'lm_head',
    ]);
    expect(quantized({ scheme: 'w4', include: ['*'], ignore: ['re:.*layers', 'lm_head'] })).toEqual([]);
    const kept = plan({ scheme: 'w4', ignore: ['layers.0.q_proj'] });
    expect(kept.keptLinears).toEqual(['model.layers.0.q_proj', 'lm_head']);
    expect(kept.tensors[1]!.reason).toBe('kept: ignored by the pattern "layers.0.q_proj"');
    expect(plan({ scheme: 'w4', include: ['layers.0'] }).tensors[4]!.reason).toMatch(/no include pattern/);
  });

  it('has a problem for each pattern without a module, for the embedding and for a tied head', () => {
    const codes = (options: RtnOptions, table = TABLE) =>
      plan(options, TENSORS, table).problems.map(({ code }) => code);
    expect(codes({ scheme: 'w4', include: ['q_porj', 'layers'], ignore: ['layers.7'] })).toEqual([
      'PATTERN_MATCHES_NOTHING',
      'PATTERN_MATCHES_NOTHING',
    ]);
    expect(codes({ scheme: 'w4', include: ['embed_tokens', 'layers'] })).toEqual(['EMBEDDING_NOT_QUANTIZABLE']);
    expect(codes({ scheme: 'w4', include: ['*'] })).toEqual([]);
    const tied = { ...TABLE, head: { ...TABLE.head, name: 'model.embed_tokens.weight', tied: true } };
    expect(codes({ scheme: 'w4', include: ['layers', 'lm_head'] }, tied)).toEqual(['HEAD_TIED']);
    expect(plan({ scheme: 'w4' }, TENSORS.slice(0, -1), tied)).toMatchObject({
      problems: [],
      keptLinears: ['lm_head'],
    });
    expect(plan({ scheme: 'w4' }, TENSORS.slice(0, -1), tied).tensors[0]!.reason).toMatch(/tied/);
  });

  it('reports all that is wrong at once', () => {
    const tensors = [
      tensor('model.layers.0.q_proj.weight', [64, 60]),
      tensor('model.layers.0.down_proj.weight', [64, 172], 'i8'),
      tensor('model.layers.1.q_proj.weight', [64, 64], 'f8_e4m3'),
    ];
    expect(plan({ scheme: 'w4g32' }, tensors).problems.map(({ code }) => code)).toEqual([
      'TENSOR_MISSING',
      'SHAPE_UNEXPECTED',
      'GROUP_DOES_NOT_DIVIDE',
      'DTYPE_NOT_QUANTIZABLE',
      'GROUP_DOES_NOT_DIVIDE',
      'DTYPE_NOT_QUANTIZABLE',
    ]);
  });

  it.skipIf(!hasShared)('refuses w4g64 on stories260k for its five down_proj', () => {
    const hf = JSON.parse(readFileSync(shared('models/stories260k/config.json'), 'utf8')) as unknown;
    const table = describeArchitecture(readModelConfig(hf as Parameters<typeof readModelConfig>[0]));
    const tensors = [...readGolden('models/stories260k/model.safetensors')].map(([name, { shape }]) =>
      tensor(name, shape, 'f32'),
    );
    const { problems } = planRtn(table, tensors, rtnConfig({ scheme: 'w4g64' }));
    expect(problems.map(({ name }) => name)).toEqual(
      [0, 1, 2, 3, 4].map((i) => `model.layers.${i}.mlp.down_proj.weight`),
    );
    expect(planRtn(table, tensors, rtnConfig({ scheme: 'w8' })).problems).toEqual([]);
  });
});

describe('quantizedPieces', () => {
  it('agrees with the layout of compressed-tensors', () => {
    for (const name of [
      'w4g32',
      'w4g32-asym',
      'w3-asym',
      'w5-tensor-asym',
      'w8',
      'w8a8',
      'w8a8-asym',
      'fp8',
      'fp8-tensor',
    ]) {
      const { weights, activations, storage } = parseScheme(name);
      const scheme: QuantizationScheme = { ...weights, scaleDType: 'bf16' };
      const stored = storedPieces(
        { name: 'm.weight', shape: [45, 96], scheme },
        compressedFormat(scheme, activations !== undefined),
      );
      const own = quantizedPieces([45, 96], scheme, storage);
      const plain = stored.filter(({ role }) => role !== 'shape');
      expect(own.map(({ piece, dtype, shape, byteLength }) => ({ role: piece, dtype, shape, byteLength }))).toEqual(
        plain.map(({ role, dtype, shape, byteLength }) => ({ role, dtype, shape, byteLength })),
      );
    }
  });
});

describe('rtnConfig', () => {
  it('fills in the defaults and freezes', () => {
    const config = rtnConfig({ scheme: 'w4g128' });
    expect(config).toMatchObject({ method: 'rtn', range: { kind: 'minmax' }, include: [], ignore: [] });
    expect(Object.isFrozen(config) && Object.isFrozen(config.include)).toBe(true);
    expect(rtnConfig({ scheme: 'w4', scaleDType: 'f16' }).scheme.scaleDType).toBe('f16');
    expect(rtnConfig({ scheme: parseScheme('w8a8'), range: { kind: 'rms', multiple: 3 } }).scheme).toEqual(
      parseScheme('w8a8'),
    );
  });

  it('refuses unknown options and wrong values', () => {
    const code = (options: unknown) => {
      try {
        rtnConfig(options as RtnOptions);
        return undefined;
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code({ scheme: 'w4', groupsize: 3 })).toBe('RTN_OPTION_INVALID');
    expect(code({})).toBe('RTN_OPTION_INVALID');
    expect(code({ scheme: 'w4', scaleDType: 'f64' })).toBe('RTN_OPTION_INVALID');
    expect(code({ scheme: 'w4', include: ['re:('] })).toBe('PATTERN_INVALID');
    expect(code({ scheme: 'x4' })).toBe('SCHEME_UNKNOWN');
    expect(code({ scheme: 'w4', range: 'best' })).toBe('RANGE_UNKNOWN');
  });
});

it('linear modules outside of the blocks, and those that no program reads, are named as kept', () => {
  const table: ModuleTable = {
    ...TABLE,
    outputProjection: { ...linear('transform', null, 64, 64), role: 'projection' },
    ignored: [/^bert\.pooler\./, /^lm_head\.weight$/],
    storage: { rename: (name) => name.replace(/^pooler\./, 'bert.pooler.'), packed: [] },
  };
  const tensor = (name: string, shape: readonly number[]): PlannedTensor => ({
    name,
    shape,
    dtype: 'f32',
    byteLength: 4,
  });
  const linears = table.blocks.flatMap((block) =>
    block.linears.map(({ name, outFeatures, inFeatures }) => tensor(name, [outFeatures, inFeatures])),
  );
  const others = [
    tensor('transform.weight', [64, 64]),
    tensor('bert.pooler.weight', [64, 64]),
    tensor('bert.pooler.bias', [64]),
    tensor('lm_head.weight', [100, 64]),
  ];
  const { keptLinears } = planRtn(table, [...linears, ...others], rtnConfig({ scheme: 'w8' }));
  expect(keptLinears).toEqual(['transform', 'lm_head', 'bert.pooler', 'pooler']);
});
