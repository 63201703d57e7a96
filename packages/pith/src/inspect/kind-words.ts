// Quantized nodes in words. Apart from what reads them: the command line loads this before any command runs.
import { plural } from '../format.ts';
import type { InspectedOnnxQuantization } from './inspect-onnx.ts';

/** One kind of node in words. */
export function kindWords({ operator, bits, blockSize, nodes }: InspectedOnnxQuantization): string {
  const facts = [
    ...(bits === null ? [] : [`${bits} bits`]),
    ...(blockSize === null ? [] : [`blocks of ${blockSize}`]),
    plural(nodes, 'node'),
  ];
  return `${operator.replace(/^com\.microsoft:/, '')} (${facts.join(', ')})`;
}
