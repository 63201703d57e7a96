// Divisors of the rotary frequencies, for files whose frequencies are not plain powers (Llama 3.1 scaling).
import type { ModelConfig } from '../config/model-config.ts';

/** f32 [dim / 2], what each frequency is divided by; null where none is. Linear scaling is metadata, not a tensor. */
export function rotaryFactors({ rope }: Pick<ModelConfig, 'rope'>): Float32Array | null {
  if (rope === null) return null;
  const { theta, scaling, dim } = rope;
  if (scaling.kind !== 'llama3') return null;
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = scaling;
  const longest = originalMaxPositions / lowFrequencyFactor;
  const shortest = originalMaxPositions / highFrequencyFactor;
  return Float32Array.from({ length: dim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / dim);
    if (wavelength < shortest) return 1;
    if (wavelength > longest) return factor;
    const smooth =
      (originalMaxPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
