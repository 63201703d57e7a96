// A model with some of its layers: those that stay move up, their weights stay lazy.
import type { WeightTensor } from '@pith/tensor-core';
import { describeArchitecture } from '../architecture/registry.ts';
import type { ModelConfig } from '../config/model-config.ts';
import type { LanguageModel } from '../language-model.ts';
import { renamedWeight } from './renamed-weight.ts';

/** The facts of a model with some of its layers. @param kept Indices of the blocks that stay, ascending. */
export function configOfLayers(config: ModelConfig, kept: readonly number[]): ModelConfig {
  const ofKept = <T>(values: readonly T[]) => Object.freeze(kept.map((index) => values[index]!));
  const { windows, ropes, experts } = config;
  return Object.freeze({
    ...config,
    layers: kept.length,
    windows: ofKept(windows),
    ropes: ofKept(ropes),
    experts: experts && Object.freeze({ ...experts, layers: ofKept(experts.layers) }),
  });
}

/**
 * New checkpoint names by old ones: the blocks that stay take the places of the first ones. Tensors of blocks that go have
 * none.
 *
 * @param paths Module path of each block, in order.
 */
export function layerNames(
  names: Iterable<string>,
  paths: readonly string[],
  kept: readonly number[],
): Map<string, string> {
  const newPath = new Map(kept.map((index, position) => [paths[index], paths[position]]));
  const moved = new Map<string, string>();
  for (const name of names) {
    const path = paths.find((candidate) => name.startsWith(`${candidate}.`));
    if (path === undefined) moved.set(name, name);
    else if (newPath.has(path)) moved.set(name, newPath.get(path)! + name.slice(path.length));
  }
  return moved;
}

/** The model with some of its layers. @param kept Indices of the blocks that stay, ascending. */
export function keepLayers(model: LanguageModel, kept: readonly number[]): LanguageModel {
  const paths = model.architecture.blocks.map(({ path }) => path);
  const weights = new Map<string, WeightTensor>();
  for (const [name, to] of layerNames(model.weights.keys(), paths, kept)) {
    weights.set(to, renamedWeight(model.weights.get(name)!, to));
  }
  const config = configOfLayers(model.config, kept);
  return Object.freeze({ ...model, config, architecture: describeArchitecture(config), weights });
}

/** Architectures whose config gives windows to the layers from an index on. */
const WINDOWS_BY_INDEX: readonly string[] = ['qwen2'];

/**
 * Members of config.json for a number of layers; undefined removes one. Windows by layer are written as
 * `max_window_layers` where the windowed layers come last, as a list otherwise; a list of the old length would be refused.
 */
export function layerMembers({ modelType, layers, windows }: ModelConfig): Record<string, unknown> {
  if (!WINDOWS_BY_INDEX.includes(modelType)) return { num_hidden_layers: layers, layer_types: undefined };
  const firstWindowed = windows.findIndex((window) => window !== null);
  const full = firstWindowed < 0 ? windows.length : firstWindowed;
  const inOrder = windows.slice(full).every((window) => window !== null);
  const types = windows.map((window) => (window === null ? 'full_attention' : 'sliding_attention'));
  return { num_hidden_layers: layers, max_window_layers: full, layer_types: inOrder ? undefined : types };
}
