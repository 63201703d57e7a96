export type { CheckpointOutput, OpenOutputOptions, OutputLocation } from './checkpoint-output.ts';
