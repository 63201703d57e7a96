// Which linears of the blocks a pass works on.
export { linearSelector, selectLinears } from '@pith/model';
export type { LinearPatterns } from '@pith/model';
