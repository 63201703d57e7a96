// Biases that a model does without and llama.cpp does not load a file without: files have vectors of zeros in their place.
import { restoreBlocks, type GgufTensor } from '@pith/checkpoint';
import { needsBias } from './gguf-limits.ts';

/** Longer vectors are taken for what they are. */
const MAX_BYTES = 2 ** 22;

/**
 * Names of the biases of all modules whose biases are zero in every block, of those that llama.cpp wants. Of a model that has them
 * one vector of each kind is read.
 */
export async function findZeroBiases(
  modelType: string,
  tensors: ReadonlyMap<string, GgufTensor>,
): Promise<ReadonlySet<string>> {
  const modules = new Map<string, GgufTensor[]>();
  for (const [name, tensor] of tensors) {
    const module = /^blk\.\d+\.(\w+)\.bias$/.exec(name)?.[1];
    if (module === undefined || !needsBias(modelType, module)) continue;
    const known = modules.get(module) ?? [];
    known.push(tensor);
    modules.set(module, known);
  }
  const zeros = new Set<string>();
  for (const biases of modules.values()) {
    let all = true;
    for (const bias of biases) {
      all = await isZero(bias);
      if (!all) break;
    }
    if (all) for (const { name } of biases) zeros.add(name);
  }
  return zeros;
}

async function isZero({ type, source, byteLength }: GgufTensor): Promise<boolean> {
  if (byteLength > MAX_BYTES) return false;
  return restoreBlocks(type, await source.read(0, byteLength)).every((value) => value === 0);
}
