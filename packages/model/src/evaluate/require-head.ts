// Which questions a model can answer: one without a head has no logits, an encoder no next token.
import { PithError } from '@pith/tensor-core';
import type { ModelConfig } from '../config/model-config.ts';

/** @throws PithError `MODEL_WITHOUT_HEAD` for a model that has no output projection. */
export function requireHead({ config }: { readonly config: ModelConfig }, operation: string): void {
  if (config.traits['headless'] !== true) return;
  throw new PithError(
    'MODEL_WITHOUT_HEAD',
    `${operation}: the model must have a head, this ${config.modelType} has none (its class has no language model); ask it for embeddings`,
    { details: { modelType: config.modelType } },
  );
}

/** @throws PithError `MODEL_NOT_CAUSAL` for an encoder, `MODEL_WITHOUT_HEAD`. */
export function requireCausal(model: { readonly config: ModelConfig }, operation: string): void {
  requireHead(model, operation);
  const { kind, modelType } = model.config;
  if (kind === 'decoder') return;
  throw new PithError(
    'MODEL_NOT_CAUSAL',
    `${operation}: the model must predict the next token, ${modelType} is an encoder and sees all of them; it gives logits of masked tokens and embeddings`,
    { details: { modelType } },
  );
}
