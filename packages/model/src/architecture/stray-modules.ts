// Linear modules that the class of a runtime has and no program here reads: the pooler of BERT. They stay dense, and a runtime
// that reads quantized weights must be told so.
import type { Architecture } from './architecture.ts';
import type { Shaped } from './expected-tensors.ts';

/** What {@link strayModules} reads of an architecture; nothing strays where it is left out. */
export type StrayRules = Partial<Pick<Architecture, 'ignored' | 'storage'>>;

/**
 * Paths of matrices that are carried along and not in the table, each by the names that checkpoints have for it.
 *
 * @param tensors by checkpoint name.
 */
export function strayModules({ ignored = [], storage }: StrayRules, tensors: Iterable<[string, Shaped]>): string[] {
  const stray = [...tensors].filter(([name, { shape }]) => {
    return shape.length === 2 && name.endsWith('.weight') && ignored.some((pattern) => pattern.test(name));
  });
  return stray.flatMap(([name]) => {
    // The class without a head has no prefix.
    const bare = name.slice(name.indexOf('.') + 1);
    const names = storage !== undefined && bare !== name && storage.rename(bare) === name ? [name, bare] : [name];
    return names.map((one) => one.slice(0, -'.weight'.length));
  });
}
