// The kinds of stages. A file of its own: the command line knows them before it loads anything.

/** What a stage can do. */
export const STAGE_KINDS = ['prune', 'factorize', 'distill', 'quantize'] as const;
/** What a stage does. */
export type StageKind = (typeof STAGE_KINDS)[number];
