export type { CheckpointOutput, OpenOutputOptions, OutputLocation } from './checkpoint-output.ts';
export { openOutput, workingDirectoryOf } from './open-output.ts';
export { outputError } from './output-errors.ts';
