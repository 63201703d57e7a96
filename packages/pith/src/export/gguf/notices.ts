// What people should know of a model that becomes a GGUF file: what llama.cpp computes otherwise, what is left out, and which types gave way.
import { ggufKeepsWindows, ggufLeavesOut, withoutNextTokens } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import type { ChosenType } from '@pith/quant';

/** Windows that llama.cpp does not have. */
export function windowNotices({ config }: OpenModel): string[] {
  const windows = config.windows.filter((window) => window !== null && window < config.maxPositions);
  if (windows.length === 0 || ggufKeepsWindows(config.modelType)) return [];
  return [
    `llama.cpp has no sliding window for ${config.modelType}: beyond ${Math.min(...(windows as number[]))} tokens its results differ from those of the model`,
  ];
}

/** Factors that llama.cpp applies at other lengths. */
export function factorNotices({ config: { rope } }: OpenModel): string[] {
  if (rope?.scaling.kind !== 'longrope') return [];
  return [
    `llama.cpp divides the rotary frequencies by the factors for long texts where its context has more than ${rope.scaling.originalMaxPositions} ` +
      'tokens, however short the text; the model where the text has',
  ];
}

/** Heads that have no place in the file. */
export function headNotices({ config, weights }: OpenModel): string[] {
  const names = [...weights.keys()].filter((name) => ggufLeavesOut(config.modelType, name));
  if (names.length === 0) return [];
  return [
    `the head for masked words (${names.length} weights, ${names[0]!}) is left out: llama.cpp makes embeddings of ${config.modelType} and guesses no words`,
  ];
}

/** Blocks that llama.cpp's own converter leaves out as well. */
export function nextTokenNotices({ architecture, weights }: OpenModel): string[] {
  const left = weights.size - withoutNextTokens({ architecture, weights }).length;
  if (left === 0) return [];
  const paths = architecture.nextTokenPaths.join(', ');
  return [
    `${left} tensors of ${paths} are left out: no program reads these blocks, which guess the tokens after the next`,
  ];
}

/** What did not get the type that its mixture has for it, in one line for each kind. */
export function fallbackNotices(types: ReadonlyMap<string, ChosenType>): string[] {
  const kinds = new Map<string, string[]>();
  for (const [name, { type, insteadOf }] of types) {
    if (insteadOf === null) continue;
    const key = `${type} in place of ${insteadOf}`;
    kinds.set(key, [...(kinds.get(key) ?? []), name]);
  }
  return [...kinds].map(
    ([kind, names]) =>
      `${names.length} ${names.length === 1 ? 'tensor is' : 'tensors are'} stored as ${kind}, whose blocks do not divide the columns (${names[0]})`,
  );
}
