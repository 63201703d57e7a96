// Nodes of an ONNX model that round values or restore them: what they are, and which tensors hold codes, scales and zero points.
// Operators: the default domain's QuantizeLinear family and MatMulInteger, and ONNX Runtime's MatMulNBits and its relatives
// (https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md). Others count as plain nodes.
import type { NodeProto } from './onnx_pb.ts';

/** A node that rounds or restores. */
export interface OnnxQuantizedNode {
  /** Operator, `domain:operator` outside of the default domain. */
  readonly operator: string;
  /** Value that holds codes, or is rounded. */
  readonly codes: string;
  /** Value that holds scales; empty where they are found while the model runs. */
  readonly scales: string;
  /** Value that holds zero points; empty for none. */
  readonly zeroPoints: string;
  /** Bits of a code; null where the type of the tensor says so. */
  readonly bits: number | null;
  /** Values that share a scale along a row; null for one scale for a row or for all. */
  readonly blockSize: number | null;
  /** Rows (outputs) and columns (inputs) of the matrix; null where the shape of the tensor says so. */
  readonly shape: readonly [rows: number, columns: number] | null;
}

/** Places of operands. */
interface Operands {
  readonly codes: number;
  readonly scales?: number;
  readonly zeroPoints?: number;
}

const OPERATORS: Readonly<Record<string, Operands>> = {
  DequantizeLinear: { codes: 0, scales: 1, zeroPoints: 2 },
  QuantizeLinear: { codes: 0, scales: 1, zeroPoints: 2 },
  DynamicQuantizeLinear: { codes: 0 },
  MatMulInteger: { codes: 1, zeroPoints: 3 },
  QLinearMatMul: { codes: 3, scales: 4, zeroPoints: 5 },
  'com.microsoft:MatMulNBits': { codes: 1, scales: 2, zeroPoints: 3 },
  'com.microsoft:GatherBlockQuantized': { codes: 0, scales: 2, zeroPoints: 3 },
  'com.microsoft:MatMulIntegerToFloat': { codes: 1, scales: 3, zeroPoints: 5 },
  'com.microsoft:DynamicQuantizeMatMul': { codes: 1, scales: 2, zeroPoints: 3 },
  'com.microsoft:QMoE': { codes: 2, scales: 3 },
};

/** Largest number that an attribute of such a node may have. */
const LARGEST = 2 ** 31 - 1;

/**
 * The nodes of a graph that round or restore.
 *
 * @param refuse throws `ONNX_ATTRIBUTE` for numbers that no such node can have.
 */
export function quantizedNodes(
  nodes: readonly NodeProto[],
  refuse: (code: string, message: string, details: Readonly<Record<string, unknown>>) => never,
): OnnxQuantizedNode[] {
  return nodes.flatMap((node): OnnxQuantizedNode[] => {
    const operator = node.domain === '' ? node.opType : `${node.domain}:${node.opType}`;
    if (!Object.hasOwn(OPERATORS, operator)) return [];
    const { codes, scales, zeroPoints } = OPERATORS[operator]!;
    const at = (place: number | undefined): string => (place === undefined ? '' : (node.input[place] ?? ''));
    const whole = (name: string, largest = LARGEST): number | null => {
      const found = node.attribute.find((attribute) => attribute.name === name);
      if (found === undefined) return null;
      const value = Number(found.i);
      if (value >= 1 && value <= largest) return value;
      return refuse(
        'ONNX_ATTRIBUTE',
        `node ${node.name.slice(0, 60)}: ${name} of ${operator} must be from 1 to ${largest}, got ${found.i}`,
        { node: node.name.slice(0, 60), attribute: name },
      );
    };
    const [rows, columns] = [whole('N'), whole('K')];
    // Block sizes of 0 stand for one scale for a row.
    const block = node.attribute.some(({ name, i }) => name === 'block_size' && i === 0n) ? null : whole('block_size');
    return [
      {
        operator,
        codes: at(codes),
        scales: at(scales),
        zeroPoints: at(zeroPoints),
        bits: whole('bits', 64),
        blockSize: block,
        shape: rows === null || columns === null ? null : [rows, columns],
      },
    ];
  });
}
