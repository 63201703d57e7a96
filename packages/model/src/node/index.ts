// The part of model that needs Node: files.
export { modelFromCheckpoint, openModel, readTokenizer } from './open-model.ts';
export type { CheckpointModel, OpenModel } from './open-model.ts';
export { openCheckpointAt } from './open-checkpoint-at.ts';
export { isGgufFile, openGgufCheckpoint } from './open-gguf-checkpoint.ts';
export { openLossLog } from './loss-log.ts';
export type { LossLog } from './loss-log.ts';
export { trainFolder } from './train-folder.ts';
export { readTrainState, saveTrainState } from './train-state-folder.ts';
export { spilledActivations } from './spilled-activations.ts';
export type { SpilledActivationsOptions } from './spilled-activations.ts';
export { writeOnnx } from './write-onnx.ts';
export type { OnnxOutput } from './write-onnx.ts';
