// A model with some of its layers: those that stay move up, their weights stay lazy.
import type { WeightTensor } from '@pith/tensor-core';
import { describeArchitecture, familyOf } from '../architecture/registry.ts';
import type { Architecture } from '../architecture/architecture.ts';
import type { ModelConfig } from '../config/model-config.ts';
import type { LanguageModel } from '../language-model.ts';
import { renamedWeight } from './renamed-weight.ts';

/** The facts of a model with some of its layers. @param kept Indices of the blocks that stay, ascending. */
export function configOfLayers(config: ModelConfig, kept: readonly number[]): ModelConfig {
  const ofKept = <T>(values: readonly T[]) => Object.freeze(kept.map((index) => values[index]!));
  const { windows, ropes, experts, nextTokenLayers } = config;
  return Object.freeze({
    ...config,
    layers: kept.length,
    nextTokenLayers: kept.length === config.layers ? nextTokenLayers : 0,
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

/** Names of a model's weights but for those of blocks that guess the tokens after the next, see `Architecture.nextTokenPaths`. */
export function withoutNextTokens({
  architecture: { nextTokenPaths },
  weights,
}: {
  readonly architecture: Pick<Architecture, 'nextTokenPaths'>;
  readonly weights: ReadonlyMap<string, unknown>;
}): string[] {
  return [...weights.keys()].filter((name) => !nextTokenPaths.some((path) => name.startsWith(`${path}.`)));
}

/** The model with some of its layers. @param kept Indices of the blocks that stay, ascending. */
export function keepLayers(model: LanguageModel, kept: readonly number[]): LanguageModel {
  const paths = model.architecture.blocks.map(({ path }) => path);
  const weights = new Map<string, WeightTensor>();
  const names = kept.length === paths.length ? model.weights.keys() : withoutNextTokens(model);
  for (const [name, to] of layerNames(names, paths, kept)) {
    weights.set(to, renamedWeight(model.weights.get(name)!, to));
  }
  const config = configOfLayers(model.config, kept);
  return Object.freeze({ ...model, config, architecture: describeArchitecture(config), weights });
}

/** Members of config.json for the layers that a config has, by the names of its family; undefined removes one. */
export function layerMembers(config: ModelConfig): Readonly<Record<string, unknown>> {
  const { layerMembers: own, members } = familyOf(config.modelType);
  return own?.(config) ?? { [members?.layers ?? 'num_hidden_layers']: config.layers, layer_types: undefined };
}
