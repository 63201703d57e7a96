// A model as an ONNX model. What comes out is a plan, headers alone: the nodes, and the tensors beside them with what makes their
// bytes.
import type { LanguageModel } from '../language-model.ts';
import { buildDecoder } from './build-decoder.ts';
import { buildEncoder } from './build-encoder.ts';
import type { OnnxOptions } from './model-tensors.ts';
import type { OnnxPlan } from './write-program.ts';

/**
 * Plans the ONNX model of a decoder (logits, and the cache in and out) or of an encoder (states, and logits where it has a head for
 * masked words). Nothing of the weights is read.
 *
 * @throws PithError `DYNAMIC_TRACE` where its program depends on how many tokens there are.
 */
export function buildOnnx(model: LanguageModel, options: OnnxOptions): OnnxPlan {
  return model.config.kind === 'encoder' ? buildEncoder(model, options) : buildDecoder(model, options);
}
