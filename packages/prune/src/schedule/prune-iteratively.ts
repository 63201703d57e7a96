// Pruning in rounds (Han et al. 2015): prune a little, let the model recover, look at it, go on, until the target is reached
// or the model has lost more than it may. What pruning, recovering and looking are is the caller's to say: single weights or
// whole parts, fine-tuning or distillation, perplexity or anything else where less is better.
import { isPithError, throwIfStopped } from '@pith/tensor-core';
import type { LanguageModel } from '@pith/model';

/** What is known of a round. JSON only. */
export interface PruningRound {
  /** Counted from 1. */
  readonly round: number;
  /** Part of the way to the target, 0 to 1. */
  readonly share: number;
  /** Of the pruned model before it was fine-tuned; null where nothing was measured. */
  readonly perplexityPruned: number | null;
  /** Of the round's model; null where nothing was measured or fine-tuning diverged. */
  readonly perplexity: number | null;
  /** Whether it is good enough. */
  readonly passed: boolean;
  /** Why it is not. */
  readonly reason?: string;
  /** What pruning said of it, and the recovery. */
  readonly facts: RoundFacts;
}

/** What a round's pruning says of itself, for reports. JSON only. */
export type RoundFacts = Readonly<Record<string, unknown>>;

/** A model that was pruned, or recovered. */
export interface PrunedModel {
  /** The model. */
  readonly model: LanguageModel;
  /** What there is to say of it; nothing when left out. */
  readonly facts?: RoundFacts;
}

/** Keeps rounds for a run that is killed and started again. */
export interface RoundStore {
  /** What was kept last; null for nothing. */
  read(): Promise<KeptRounds | null>;
  /** Keeps the rounds so far in the place of those before. */
  save(kept: KeptRounds): Promise<void>;
}

/** Rounds that are done, and the last model that passed. */
export interface KeptRounds {
  /** Of the model as it was; null where nothing was measured. */
  readonly perplexityBefore: number | null;
  /** Rounds, in order. */
  readonly rounds: readonly PruningRound[];
  /** The model of the last round that passed; the original where none did. */
  readonly model: LanguageModel;
}

/** Options of {@link pruneIteratively}. */
export interface IterativePruningOptions {
  /** Part of the way to the target after each round, ascending, see `roundShares`. */
  readonly shares: readonly number[];
  /** Takes a model to a part of the way. It is given the model of the round before. */
  readonly prune: (model: LanguageModel, share: number, round: number) => Promise<PrunedModel>;
  /** Lets it recover; nothing when left out. What was pruned must stay so. */
  readonly fineTune?: (model: LanguageModel, share: number, round: number) => Promise<LanguageModel | PrunedModel>;
  /** Measures a model; nothing is measured when left out. */
  readonly evaluate?: (model: LanguageModel) => Promise<number>;
  /** A round passes with at most so many times the original's perplexity; null when every round passes. */
  readonly degradation?: number | null;
  /** Where rounds are kept to resume from. */
  readonly store?: RoundStore;
  /** Told of each round. */
  readonly onRound?: (round: PruningRound) => void;
  /** Stops between two rounds, and within what listens to it. */
  readonly signal?: AbortSignal;
}

/** What came of it. */
export interface IterativePruningResult {
  /** The most pruned model that passed; the original where none did. */
  readonly model: LanguageModel;
  /** Part of the way to the target that it has gone. */
  readonly share: number;
  /** Of the original; null where nothing was measured. */
  readonly perplexityBefore: number | null;
  /** All rounds, the one that failed included. */
  readonly rounds: readonly PruningRound[];
}

/**
 * Prunes in rounds and keeps the last model that passed. A round that fails is the last one; so is one whose fine-tuning
 * diverges.
 *
 * @throws PithError `STOPPED`, and what the functions given throw.
 */
export async function pruneIteratively(
  original: LanguageModel,
  options: IterativePruningOptions,
): Promise<IterativePruningResult> {
  const { shares, prune, fineTune, evaluate, degradation = null, store, onRound, signal } = options;
  const kept = await store?.read();
  let model = kept?.model ?? original;
  const rounds: PruningRound[] = [...(kept?.rounds ?? [])];
  const perplexityBefore = kept ? kept.perplexityBefore : ((await evaluate?.(original)) ?? null);
  const limit = degradation === null || perplexityBefore === null ? null : degradation * perplexityBefore;
  while (rounds.length < shares.length && rounds.at(-1)?.passed !== false) {
    throwIfStopped(signal, 'iterative pruning');
    const round = rounds.length + 1;
    const share = shares[rounds.length]!;
    const { model: pruned, facts = {} } = await prune(model, share, round);
    const perplexityPruned = (fineTune && (await evaluate?.(pruned))) ?? null;
    const recovery = await recovered(pruned, () => fineTune?.(pruned, share, round));
    const tuned = recovery && recovery.model;
    const perplexity = tuned === null ? null : ((await evaluate?.(tuned)) ?? null);
    const reason = whyNot(tuned, perplexity, limit);
    const record: PruningRound = {
      round,
      share,
      perplexityPruned: perplexityPruned ?? perplexity,
      perplexity,
      passed: reason === null,
      ...(reason !== null && { reason }),
      facts: { ...facts, ...recovery?.facts },
    };
    rounds.push(record);
    if (reason === null) model = tuned!;
    await store?.save({ perplexityBefore, rounds, model });
    onRound?.(record);
  }
  const share = rounds.filter(({ passed }) => passed).at(-1)?.share ?? 0;
  return { model, share, perplexityBefore, rounds };
}

/** The fine-tuned model; null where training diverged. */
async function recovered(
  pruned: LanguageModel,
  fineTune: () => Promise<LanguageModel | PrunedModel> | undefined,
): Promise<PrunedModel | null> {
  try {
    const made = (await fineTune()) ?? pruned;
    return 'model' in made ? made : { model: made };
  } catch (error) {
    if (isPithError(error) && error.code === 'TRAINING_DIVERGED') return null;
    throw error;
  }
}

function whyNot(tuned: LanguageModel | null, perplexity: number | null, limit: number | null): string | null {
  if (tuned === null) return 'fine-tuning diverged';
  if (limit === null || perplexity === null || perplexity <= limit) return null;
  return `perplexity ${perplexity.toPrecision(5)} is above the limit of ${limit.toPrecision(5)}`;
}
