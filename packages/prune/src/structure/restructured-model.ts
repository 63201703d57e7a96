// A model with layers or units taken out: a table and weights of their own, the weights lazy.
import { configMembers, configOfLayers, describeArchitecture, layerMembers, withoutNextTokens } from '@pith/model';
import type { LanguageModel, LinearSpec, ModelConfig } from '@pith/model';
import type { WeightTensor } from '@pith/tensor-core';
import { movedExperts, routerSlices, type KeptExperts } from './expert-units.ts';
import { keepSlices, renamed, type Kept } from './gathered-weight.ts';
import { isDense, unitAxes, type UnitAxis } from './slice-groups.ts';

/** Units that stay, ascending indices, by the checkpoint name of the linear that reads them; where there is none all stay. */
export type KeptUnits = ReadonlyMap<string, Uint32Array>;

/** How many units of each kind a model has. */
export interface UnitCounts {
  /** Width of the feed-forward part of blocks without experts. */
  readonly neurons: number;
  /** Width of one expert; 0 without experts. */
  readonly expertNeurons: number;
  /** Key-value heads. */
  readonly kvGroups: number;
}

/** The counts of a model as it is. */
export function unitCounts({ intermediateSize, experts, keyValueHeads }: ModelConfig): UnitCounts {
  return { neurons: intermediateSize, expertNeurons: experts?.intermediateSize ?? 0, kvGroups: keyValueHeads };
}

/** The facts of a model with fewer units in each block; the length of a head stays. */
export function configOfUnits(config: ModelConfig, { neurons, expertNeurons, kvGroups }: UnitCounts): ModelConfig {
  const heads = (config.heads / config.keyValueHeads) * kvGroups;
  const members = configMembers(config.modelType);
  // One member of the config may say both widths.
  const width = config.experts !== null && members.expertNeurons === members.neurons ? expertNeurons : neurons;
  const experts = config.experts && Object.freeze({ ...config.experts, intermediateSize: expertNeurons });
  const before = unitCounts(config);
  const changed = neurons !== before.neurons || expertNeurons !== before.expertNeurons || kvGroups !== before.kvGroups;
  const nextTokenLayers = changed ? 0 : config.nextTokenLayers;
  return Object.freeze({
    ...config,
    intermediateSize: width,
    experts,
    heads,
    keyValueHeads: kvGroups,
    nextTokenLayers,
  });
}

/** Every axis of a model, block by block. */
function* axesOf({ architecture }: Pick<LanguageModel, 'architecture'>): Generator<UnitAxis> {
  for (const block of architecture.blocks) {
    for (const kind of ['neurons', 'kv-groups'] as const) yield* unitAxes(block, kind);
  }
}

/**
 * New checkpoint names by old ones for a model with fewer layers: the blocks that stay move up. Tensors of blocks that go
 * have none.
 */
export function movedNames(
  names: Iterable<string>,
  paths: readonly string[],
  kept: readonly number[],
): Map<string, string> {
  const newPath = new Map(kept.map((index, position) => [paths[index]!, paths[position]!]));
  const moved = new Map<string, string>();
  for (const name of names) {
    const path = paths.find((candidate) => name.startsWith(`${candidate}.`));
    if (path === undefined) moved.set(name, name);
    else if (newPath.has(path)) moved.set(name, newPath.get(path)! + name.slice(path.length));
  }
  return moved;
}

/** The rows and columns of each tensor that stay when only some units do, by checkpoint name. */
export function keptSlices(model: Pick<LanguageModel, 'architecture'>, units: KeptUnits): Map<string, Kept> {
  const slices = new Map<string, Kept>();
  for (const { reader, readerColumns, feeders } of axesOf(model)) {
    const kept = units.get(reader.name);
    if (kept === undefined) continue;
    // Parts of a fused linear keep rows each; what is no part of any keeps all.
    const stays = new Map<LinearSpec, Uint32Array[]>();
    for (const { linear, rows, order } of feeders) {
      const own = spread(kept, rows).map((index) => order[index]!);
      stays.set(linear, [...(stays.get(linear) ?? []), own]);
    }
    for (const [{ name, biasName }, parts] of stays) {
      const rows = Uint32Array.from(parts.flatMap((part) => [...part])).sort();
      slices.set(name, { ...slices.get(name), rows });
      if (biasName !== null) slices.set(biasName, { rows });
    }
    slices.set(reader.name, { ...slices.get(reader.name), columns: spread(kept, readerColumns) });
  }
  return slices;
}

/** The model without the other layers. @param kept Indices of the blocks that stay, ascending. */
export function keepLayers(model: LanguageModel, kept: readonly number[]): LanguageModel {
  const paths = model.architecture.blocks.map(({ path }) => path);
  const weights = new Map<string, WeightTensor>();
  for (const [name, to] of movedNames(withoutNextTokens(model), paths, kept)) {
    weights.set(to, renamed(model.weights.get(name)!, to));
  }
  return withConfig(model, configOfLayers(model.config, kept), weights);
}

/** The facts of a model with fewer experts in each block that has any. */
export function configOfExperts(config: ModelConfig, count: number): ModelConfig {
  const nextTokenLayers = count === config.experts?.count ? config.nextTokenLayers : 0;
  const experts = config.experts && Object.freeze({ ...config.experts, count });
  return Object.freeze({ ...config, experts, nextTokenLayers });
}

/** The model without the other experts. */
export function keepExperts(model: LanguageModel, kept: KeptExperts): LanguageModel {
  const { architecture } = model;
  const moved = movedExperts(architecture, kept);
  const routers = routerSlices(architecture, kept);
  const weights = new Map<string, WeightTensor>();
  for (const name of withoutNextTokens(model)) {
    const weight = model.weights.get(name)!;
    const to = moved.has(name) ? moved.get(name)! : name;
    if (to !== null) weights.set(to, renamed(keepSlices(weight, routers.get(name) ?? {}), to));
  }
  const [first] = kept.values();
  return withConfig(model, first === undefined ? model.config : configOfExperts(model.config, first.length), weights);
}

/** The model without the other units. */
export function keepUnits(model: LanguageModel, units: KeptUnits): LanguageModel {
  const weights = new Map(withoutNextTokens(model).map((name) => [name, model.weights.get(name)!]));
  for (const [name, kept] of keptSlices(model, units)) weights.set(name, keepSlices(weights.get(name)!, kept));
  const axes = [...axesOf(model)];
  const stay = (is: (axis: UnitAxis) => boolean) => {
    const axis = axes.find((one) => is(one) && units.has(one.reader.name));
    return axis && units.get(axis.reader.name)!.length;
  };
  const before = unitCounts(model.config);
  const config = configOfUnits(model.config, {
    neurons: stay(({ kind, reader }) => kind === 'neurons' && isDense(reader)) ?? before.neurons,
    expertNeurons: stay(({ kind, reader }) => kind === 'neurons' && reader.expert !== null) ?? before.expertNeurons,
    kvGroups: stay(({ kind }) => kind === 'kv-groups') ?? before.kvGroups,
  });
  return withConfig(model, config, weights);
}

/**
 * Members of config.json that say what changed between two configs, by the names of the family; undefined removes one.
 *
 * `head_dim` is written as soon as heads go: it no longer follows from the width.
 */
export function configChanges(before: ModelConfig, after: ModelConfig): Record<string, unknown> {
  const { neurons, expertNeurons, experts } = configMembers(after.modelType);
  const count = after.experts?.count;
  const width = after.experts?.intermediateSize;
  return {
    ...((after.layers !== before.layers || after.nextTokenLayers !== before.nextTokenLayers) && layerMembers(after)),
    ...(after.intermediateSize !== before.intermediateSize && { [neurons!]: after.intermediateSize }),
    ...(width !== before.experts?.intermediateSize && { [expertNeurons]: width }),
    ...(count !== before.experts?.count && Object.fromEntries(experts.map((name) => [name, count]))),
    ...(after.keyValueHeads !== before.keyValueHeads && {
      num_attention_heads: after.heads,
      num_key_value_heads: after.keyValueHeads,
      // The lengths of a head in latent attention have members of their own.
      ...(after.latentAttention === null && { head_dim: after.headDim }),
    }),
  };
}

function withConfig(model: LanguageModel, config: ModelConfig, weights: Map<string, WeightTensor>): LanguageModel {
  const { tokenizer, stopTokenIds } = model;
  return Object.freeze({ config, architecture: describeArchitecture(config), weights, tokenizer, stopTokenIds });
}

/** Indices of units as indices of rows or columns, `each` for every unit. */
function spread(units: Uint32Array, each: number): Uint32Array {
  return Uint32Array.from({ length: units.length * each }, (_, i) => units[Math.floor(i / each)]! * each + (i % each));
}
