export { distill } from './distill.ts';
export type { DistillContext, DistillInput, DistillResult } from './distill.ts';
export { distillConfig } from './distill-config.ts';
export type { DistillConfig, DistillOptions } from './distill-config.ts';
export { distillTransform } from './distill-transform.ts';
export { attentionMapLoss, attentionScores, mostRelationHeads, relationLoss } from './losses/attention.ts';
export type { HeadCounts } from './losses/attention.ts';
export { buildLoss, lossProblems } from './losses/build-loss.ts';
export type { BuiltLoss, StudentView, TeacherView } from './losses/build-loss.ts';
export { hiddenLoss } from './losses/hidden.ts';
export { layerPairs } from './losses/layer-map.ts';
export type { LayerPair } from './losses/layer-map.ts';
export { weightAt } from './losses/loss-term.ts';
export type {
  AttentionTerm,
  HardTerm,
  HiddenTerm,
  LayerMap,
  LossTerm,
  RelationPair,
  RelationsTerm,
  SoftTerm,
  TermWeight,
} from './losses/loss-term.ts';
export { lossSchema, parseLoss } from './losses/parse-loss.ts';
export { mutualDistill } from './mutual.ts';
export type { MutualInput, MutualResult } from './mutual.ts';
export { compareVocabularies, requireSameVocabulary } from './student/compare-vocabularies.ts';
export type { VocabularyComparison } from './student/compare-vocabularies.ts';
export { makeStudent, studentSchema } from './student/student-spec.ts';
export type { LayersStudent, MadeStudent, ModelStudent, RandomStudent, StudentSpec } from './student/student-spec.ts';
export { liveTeachers, mixedLogits } from './teacher/live-teachers.ts';
export type { LiveTeachers, TeacherMixture } from './teacher/live-teachers.ts';
export type { TeacherCache } from './teacher/teacher-cache.ts';
