import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { perplexity } from '../evaluate/perplexity.ts';
import { openModel } from '../node/open-model.ts';
import { keepLayers, layerMembers } from './keep-layers.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());

describe.skipIf(!hasShared)('keepLayers', () => {
  it('moves layers up under the names of the first ones and leaves their values alone', async () => {
    const model = await openModel(shared('models/stories260k'));
    const short = keepLayers(model, [0, 3, 4]);
    expect(short.config.layers).toBe(3);
    expect(short.architecture.blocks).toHaveLength(3);
    const name = (layer: number) => `model.layers.${layer}.mlp.up_proj.weight`;
    const moved = short.weights.get(name(1))!;
    expect(moved.name).toBe(name(1));
    expect(moved.slice(2, 4).name).toBe(name(1));
    expect(await moved.toF32()).toEqual(await model.weights.get(name(3))!.toF32());
    expect(await moved.slice(2, 4).toF32()).toEqual(await model.weights.get(name(3))!.toF32(2, 4));
    expect(short.weights.has(name(3))).toBe(false);
    const { perplexity: quality } = await perplexity(short, {
      text: 'Once upon a time there was a little girl. '.repeat(20),
      context: 64,
      device,
    });
    expect(Number.isFinite(quality)).toBe(true);
    await model.close();
  });
});

describe('layerMembers', () => {
  const members = (modelType: string, windows: (number | null)[]) =>
    layerMembers({ modelType, windows, layers: windows.length } as unknown as Parameters<typeof layerMembers>[0]);

  it('says the number of layers and which have windows', () => {
    expect(members('llama', [null, null])).toEqual({ num_hidden_layers: 2, layer_types: undefined });
    expect(members('qwen2', [null, 8, 8])).toEqual({
      num_hidden_layers: 3,
      max_window_layers: 1,
      layer_types: undefined,
    });
    expect(members('qwen2', [8, null])).toMatchObject({ layer_types: ['sliding_attention', 'full_attention'] });
  });
});
