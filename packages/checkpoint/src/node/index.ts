export type { CheckpointOutput, OpenOutputOptions, OutputLocation } from './checkpoint-output.ts';
export { openOutput, workingDirectoryOf } from './open-output.ts';
export { outputError } from './output-errors.ts';
export { directoryStore } from './directory-store.ts';
export type { DirectoryStore, DirectoryStoreOptions } from './directory-store.ts';
export { openCheckpoint, openSafetensorsFile } from './open-checkpoint.ts';
export type { LocalCheckpoint, LocalSafetensors } from './open-checkpoint.ts';
export { saveCheckpoint } from './save-checkpoint.ts';
export type { CheckpointContent, CopiedFile } from './save-checkpoint.ts';
