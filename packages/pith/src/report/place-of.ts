// Where each tensor of a model stands, from the architecture's table.
import type { Architecture, LinearRole } from '@pith/model';
import type { ModulePart } from './report-data.ts';

/** The place of a tensor. */
export interface Place {
  readonly part: ModulePart;
  /** Last part of the module's path, such as `q_proj`. */
  readonly module: string;
  /** Null outside of the blocks. */
  readonly layer: number | null;
}

const PARTS: Readonly<Record<LinearRole, ModulePart>> = {
  query: 'attention',
  key: 'attention',
  value: 'attention',
  'attention-output': 'attention',
  gate: 'feed-forward',
  up: 'feed-forward',
  down: 'feed-forward',
  head: 'head',
};

/** Places by checkpoint name. */
export function placesOf({ embedding, blocks, finalNorm, head }: Architecture): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  const add = (name: string | null, path: string, part: ModulePart, layer: number | null): void => {
    if (name !== null) places.set(name, { part, module: path.slice(path.lastIndexOf('.') + 1), layer });
  };
  for (const linear of [head, ...blocks.flatMap(({ linears }) => linears)]) {
    add(linear.name, linear.path, PARTS[linear.role], linear.block);
    add(linear.biasName, linear.path, PARTS[linear.role], linear.block);
  }
  for (const { index, norms } of blocks) for (const { name, path } of norms) add(name, path, 'norm', index);
  add(finalNorm.name, finalNorm.path, 'norm', null);
  // After the head, which is the same tensor where it is tied.
  add(embedding.name, embedding.path, 'embedding', null);
  return places;
}
