export { sliceGroups } from './structure/slice-groups.ts';
export type { Slice, SliceGroup, UnitKind } from './structure/slice-groups.ts';
export { structureTransform } from './structure/structure-transform.ts';
export type { StructureOptions } from './structure/structure-config.ts';
export { cubicSparsity, roundShares } from './schedule/sparsity-schedule.ts';
export type { CubicSparsityOptions, RoundSpacing } from './schedule/sparsity-schedule.ts';
export { pruneIteratively } from './schedule/prune-iteratively.ts';
export type {
  IterativePruningOptions,
  IterativePruningResult,
  KeptRounds,
  PrunedModel,
  PruningRound,
  RoundFacts,
  RoundStore,
} from './schedule/prune-iteratively.ts';
export { iterativeTransform } from './schedule/iterative-transform.ts';
export type { IterativeHooks } from './schedule/iterative-transform.ts';
export type { FineTuneOptions, IterativeOptions, RoundMethod } from './schedule/iterative-config.ts';
export type { FineTuning } from './schedule/fine-tune.ts';
export { gradualTransform } from './schedule/gradual-transform.ts';
export type { GradualOptions } from './schedule/gradual-config.ts';

export { prunePass } from './unstructured/prune-pass.ts';
export type { PruneMethod, PruneOptions } from './unstructured/prune-options.ts';
export { pruneInto } from './streaming/prune-into.ts';
export type {
  PruneChunkHash,
  PruneDestination,
  PruneIntoOptions,
  PruneResult,
  ScoreFactors,
} from './streaming/prune-into.ts';
export { formatPattern, parsePattern, sparsityOf } from './pattern/pattern.ts';
export type { NmPattern, SparsityPattern, UnstructuredPattern } from './pattern/pattern.ts';
export { apply, mask } from './pattern/mask.ts';
export type { Comparison, MaskOptions } from './pattern/mask.ts';
export { magnitudeScore } from './magnitude/score.ts';
export { columnNorms, wandaScore } from './wanda/score.ts';
export { taylorScore } from './taylor/score.ts';
export { sparsify } from './sparsegpt/solve.ts';
export type { Sparsified, SparsifyOptions, SparsifyTarget } from './sparsegpt/solve.ts';
