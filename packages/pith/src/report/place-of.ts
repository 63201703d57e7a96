// Where each tensor of a model stands, from the architecture's table.
import { outerLinears, type Architecture, type LinearRole } from '@pith/model';
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
  'query-key-value': 'attention',
  'key-value': 'attention',
  'query-latent': 'attention',
  'key-value-latent': 'attention',
  'attention-output': 'attention',
  gate: 'feed-forward',
  up: 'feed-forward',
  'gate-up': 'feed-forward',
  router: 'feed-forward',
  down: 'feed-forward',
  projection: 'head',
  head: 'head',
};

/** Places by checkpoint name. */
export function placesOf(architecture: Architecture): ReadonlyMap<string, Place> {
  const { embedding, positions, tokenTypes, embeddingNorm, blocks, finalNorm } = architecture;
  const places = new Map<string, Place>();
  const add = (name: string | null, path: string, part: ModulePart, layer: number | null): void => {
    if (name !== null) places.set(name, { part, module: path.slice(path.lastIndexOf('.') + 1), layer });
  };
  for (const linear of [...outerLinears(architecture), ...blocks.flatMap(({ linears }) => linears)]) {
    add(linear.name, linear.path, PARTS[linear.role], linear.block);
    add(linear.biasName, linear.path, PARTS[linear.role], linear.block);
  }
  const outer = [embeddingNorm, finalNorm].filter((norm) => norm !== null);
  const norms = [
    ...blocks.flatMap((block) => block.norms.map((norm) => [norm, block.index] as const)),
    ...outer.map((norm) => [norm, null] as const),
  ];
  for (const [{ name, biasName, path }, index] of norms) {
    add(name, path, 'norm', index);
    add(biasName, path, 'norm', index);
  }
  for (const table of [positions, tokenTypes]) if (table) add(table.name, table.path, 'embedding', null);
  // After the head, which is the same tensor where it is tied.
  add(embedding.name, embedding.path, 'embedding', null);
  return places;
}
