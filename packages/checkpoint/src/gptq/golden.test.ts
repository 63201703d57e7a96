// Held to bytes written by auto-gptq 0.7.1 (GPTQModel 7.7 where the manifest says that it agrees) and AutoAWQ 0.2.9, from the
// matrices of golden/compressed-tensors; the rules are in golden/formats.md. Restored values are compared by their SHA-256.
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import type { QuantizedWeight } from '@pith/tensor-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { awq } from '../awq/format.ts';
import { readAwqWeights } from '../awq/read-weights.ts';
import type { WeightFormat } from '../formats/weight-format.ts';
import { openSafetensorsFile } from '../node/index.ts';
import type { SafetensorsFile, StoredTensor } from '../safetensors/safetensors-file.ts';
import { expectRestored, sha256OfF32 } from '../testing/restored.fixture.ts';
import { gptq } from './format.ts';
import { readGptqWeights } from './read-weights.ts';

const bytesOf = ({ source, byteLength }: StoredTensor): Promise<Uint8Array> => source.read(0, byteLength);

interface Case {
  readonly bits: number;
  readonly groupSize: number;
  readonly sym?: boolean;
  readonly actOrder?: boolean;
  readonly dequantizedF32Sha256: string;
}
const manifest = (format: string): Record<string, Case> =>
  hasShared
    ? (JSON.parse(readFileSync(shared(`golden/${format}/manifest.json`), 'utf8')) as { cases: Record<string, Case> })
        .cases
    : {};
const gptqCases = Object.entries(manifest('gptq'));
const awqCases = Object.entries(manifest('awq'));

/** The tensors of a case as those of a module `m`; `parts` in the names that they have there. */
function moduleOf(file: SafetensorsFile, name: string, parts: Readonly<Record<string, string>>) {
  const tensors = new Map<string, StoredTensor>();
  for (const [part, golden] of Object.entries(parts)) {
    const tensor = file.tensors.get(`${name}.${golden}`);
    if (tensor) tensors.set(`m.${part}`, { ...tensor, source: tensor.source, name: `m.${part}` });
  }
  return tensors;
}

/** Writes a weight again; every stored tensor must have the bytes that it was read from. */
async function expectSameBytes(
  format: WeightFormat,
  weight: QuantizedWeight,
  tensors: ReadonlyMap<string, StoredTensor>,
): Promise<void> {
  const planned = format.tensors(weight, {});
  expect(planned.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(
    planned.map(({ name }) => {
      const { dtype, shape } = tensors.get(name)!;
      return { name, dtype, shape };
    }),
  );
  expect(planned).toHaveLength(tensors.size);
  for await (const { name, offset, bytes } of format.chunks(weight, {})) {
    expect(offset).toBe(0);
    expect(Buffer.compare(bytes, await bytesOf(tensors.get(name)!)), name).toBe(0);
  }
}

describe.skipIf(!hasShared)('GPTQ against auto-gptq', () => {
  let file: SafetensorsFile;
  beforeAll(async () => {
    file = await openSafetensorsFile(shared('golden/gptq/tensors.safetensors'));
  });
  const read = async (name: string, { bits, groupSize, sym, actOrder }: Case, version: 1 | 2) => {
    const qzeros = version === 1 ? 'qzeros' : 'qzeros_v2';
    const tensors = moduleOf(file, name, { qweight: 'qweight', qzeros, scales: 'scales', g_idx: 'g_idx' });
    const quantization = {
      ...{ quant_method: 'gptq', bits, group_size: groupSize, sym: sym!, desc_act: actOrder! },
      checkpoint_format: version === 1 ? 'gptq' : 'gptq_v2',
    };
    const weights = await readGptqWeights({ quantization, config: {}, tensors, file: 'config.json' });
    return { tensors, weight: weights.get('m.weight') as QuantizedWeight };
  };

  it.each(gptqCases)('restores %s, of both versions', async (name, golden) => {
    for (const version of [1, 2] as const) {
      if (version === 1 && !file.tensors.has(`${name}.qzeros`)) continue;
      const { weight, tensors } = await read(name, golden, version);
      expect(sha256OfF32(await weight.toF32()), `version ${version}`).toBe(golden.dequantizedF32Sha256);
      expect(weight.byteLength).toBe([...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0));
    }
  });

  it.each(gptqCases)('restores rows of %s as it restores all', async (name, golden) => {
    const { weight } = await read(name, golden, 2);
    await expectRestored(weight, golden.dequantizedF32Sha256);
  });

  it.each(gptqCases)('holds the codes of %s', async (name, golden) => {
    const { weight } = await read(name, golden, 2);
    const { codes } = await weight.block();
    const expected = await bytesOf(file.tensors.get(`${name}.codes`)!);
    expect(Uint8Array.from(codes, (code) => code + 2 ** (golden.bits - 1))).toEqual(Uint8Array.from(expected));
    expect(weight.groupIndex !== undefined).toBe(golden.actOrder);
  });

  it.each(gptqCases)('writes the bytes of %s again: version 1 where symmetric, 2 otherwise', async (name, golden) => {
    const { weight, tensors } = await read(name, golden, golden.sym! ? 1 : 2);
    await expectSameBytes(gptq, weight, tensors);
    const { members } = gptq.config([weight], {});
    expect(members['quantization_config']).toMatchObject({
      ...{ bits: golden.bits, group_size: golden.groupSize, sym: golden.sym, desc_act: golden.actOrder },
      checkpoint_format: golden.sym! ? 'gptq' : 'gptq_v2',
    });
  });
});

describe.skipIf(!hasShared)('AWQ against AutoAWQ', () => {
  let file: SafetensorsFile;
  beforeAll(async () => {
    file = await openSafetensorsFile(shared('golden/awq/tensors.safetensors'));
  });
  const read = async (name: string, { bits, groupSize }: Case) => {
    const tensors = moduleOf(file, name, { qweight: 'qweight', qzeros: 'qzeros', scales: 'scales' });
    const quantization = { quant_method: 'awq', bits, group_size: groupSize, zero_point: true, version: 'gemm' };
    const weights = await readAwqWeights({ quantization, config: {}, tensors, file: 'config.json' });
    return { tensors, weight: weights.get('m.weight') as QuantizedWeight };
  };

  it.each(awqCases)('restores %s, all and by rows', async (name, golden) => {
    const { weight } = await read(name, golden);
    await expectRestored(weight, golden.dequantizedF32Sha256);
  });

  it.each(awqCases)('writes the bytes of %s again', async (name, golden) => {
    const { weight, tensors } = await read(name, golden);
    await expectSameBytes(awq, weight, tensors);
    expect(awq.config([weight], { ignore: ['lm_head'] }).members['quantization_config']).toEqual({
      ...{ bits: 4, group_size: golden.groupSize, modules_to_not_convert: ['lm_head'] },
      ...{ quant_method: 'awq', version: 'gemm', zero_point: true },
    });
  });
});
