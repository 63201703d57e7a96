// @pith/tensor-core: what every package stands on. No Node import is reachable from here.
export { PithError, isPithError, throwIfStopped } from './errors/pith-error.ts';
export type { FaultKind, PithErrorOptions } from './errors/pith-error.ts';
export { progressRate, RATE_HALF_LIFE_SECONDS } from './progress/progress-rate.ts';
export type { ProgressEstimate, ProgressRateState } from './progress/progress-rate.ts';
export { validate, validationProblems } from './validation/validate.ts';
export type { ValidateOptions, ValidationProblem } from './validation/validate.ts';
export { nearestWord } from './validation/suggest.ts';
export type { ProgressEvent, ProgressListener, RunOptions } from './progress/progress.ts';
export type {
  Device,
  DeviceCompileOptions,
  DeviceLimits,
  Executable,
  HostArrays,
  HostDType,
  HostTensor,
  HostTensors,
} from './device/device.ts';
export type { DType, DTypeInfo } from './dtype/dtype.ts';
export { DTYPES, dtypeInfo } from './dtype/dtype-info.ts';
export { byteLengthOf, packedByteLength, packedWordsPerRow } from './dtype/byte-length.ts';
export { fromF32, toF32, TO_F32_KERNELS, FROM_F32_FLOAT_KERNELS, FROM_F32_KERNELS } from './dtype/convert.ts';
export type { ByteDType, KernelOfArity } from './dtype/convert.ts';
export { roundHalfToEven } from './dtype/convert-reference.ts';
export type { Overflow } from './dtype/convert-reference.ts';
export {
  e2m1ToF32,
  e8m0ToF32,
  E2M1_MAGNITUDES,
  E2M1_MAX,
  E8M0_BIAS,
  E8M0_NAN,
  f32ToE8m0,
  packNibbles,
  unpackNibbles,
} from './dtype/micro-formats.ts';
export { pack, packAlongRows, unpack, unpackAlongRows } from './packing/pack.ts';
export { packedWords } from './packing/packed-layout.ts';
export type { PackedLayout, PackedShape } from './packing/packed-layout.ts';
export { RandomStream, randomStream } from './random/random-stream.ts';
export { philox4x32 } from './random/philox.ts';
export type { Words4 } from './random/philox.ts';
export { elementCount } from './tensor/shape.ts';
export { byteRange, memoryBytes } from './weight/byte-range.ts';
export { denseWeight } from './weight/dense-weight.ts';
export type { DenseWeightParts } from './weight/dense-weight.ts';
export { factoredWeight, factorNames } from './weight/factored-weight.ts';
export type { FactoredWeightParts, FactorNames } from './weight/factored-weight.ts';
export { memoryBlock, quantizedWeight } from './weight/quantized-weight.ts';
export type { QuantizedWeightParts } from './weight/quantized-weight.ts';
export {
  groupsPerRow,
  quantizedByteLength,
  restoredDType,
  scaleBytes,
  scaleCount,
  storedScaleCount,
} from './weight/quantized-layout.ts';
export { restore } from './weight/restore.ts';
export { codeTable } from './weight/code-table.ts';
export { compactWeights, countZeros, representationBytes, sparseOf } from './weight/compact-weights.ts';
export type { ZeroCount } from './weight/compact-weights.ts';
export { sparseByteLength } from './weight/sparse-layout.ts';
export type { SparseSize } from './weight/sparse-layout.ts';
export { sparseWeight } from './weight/sparse-weight.ts';
export type { SparseWeightParts } from './weight/sparse-weight.ts';
export { packedWeight } from './weight/packed-weight.ts';
export type { PackedWeightParts } from './weight/packed-weight.ts';
export { requireRows } from './weight/rows.ts';
export type { ByteSource, FileLocation } from './weight/byte-source.ts';
export type {
  ActivationQuantization,
  AffineScheme,
  BlockGranularity,
  ChannelGranularity,
  CodeBlock,
  CodeTable,
  DenseWeight,
  FactoredWeight,
  FloatScheme,
  Granularity,
  GroupActivations,
  GroupGranularity,
  IntegerScheme,
  MicroScaleDType,
  PackedWeight,
  QuantizationScheme,
  QuantizedWeight,
  SparseBlock,
  SparseWeight,
  ScaleDType,
  StoredScheme,
  TableScheme,
  TensorActivations,
  TensorGranularity,
  TokenActivations,
  WeightBase,
  WeightTensor,
} from './weight/weight-tensor.ts';
export type { KernelExports } from './generated/kernels-wasm.ts';
export { compileKernels, createKernelMemory, instantiateKernels, STATIC_BYTES } from './kernels/instance.ts';
export type { WasmMemory, WasmModule } from './kernels/web-assembly.ts';
export { streamThroughKernel } from './kernels/local-kernels.ts';
export type { PieceKernel } from './kernels/local-kernels.ts';
export { localHost } from './streaming/kernel-host.ts';
export type { KernelHost, KernelRegion } from './streaming/kernel-host.ts';
export { mapLimited } from './streaming/map-limited.ts';
export { CHUNK_BYTES, cutIntoChunks, runChunks } from './streaming/run-chunks.ts';
export type { Chunk, ChunkedWeight, ChunkPass, PartAddresses, RowSpan } from './streaming/run-chunks.ts';
export { compile, compileGraph } from './compile/compile.ts';
export type { CompileOptions, Program } from './compile/compile.ts';
export { trace } from './compile/trace.ts';
export type {
  Signature,
  TensorDType,
  TensorSpec,
  TracedFunction,
  TracedInputs,
  TracedResult,
} from './compile/trace.ts';
export { recordNode } from './compile/record-node.ts';
export type { RecordedNode } from './compile/record-node.ts';
export { traceDynamic } from './compile/dynamic/trace-dynamic.ts';
export type { DynamicSpec, DynamicTraceOptions } from './compile/dynamic/trace-dynamic.ts';
export { emitProgram } from './compile/dynamic/emit-program.ts';
export type { AxisSource, EmitOptions, NodeOperands } from './compile/dynamic/emit-program.ts';
export type { Dim, DynamicAxes, DynamicAxis, SymbolicDim } from './compile/dynamic/dims.ts';
export type {
  DynamicNode,
  DynamicProgram,
  DynamicType,
  Operand as DynamicOperand,
} from './compile/dynamic/dynamic-program.ts';
export { OnnxModelBuilder, exportBytes } from './compile/onnx/model-builder.ts';
export type { BuilderNode, ExternalPlace, ModelProperties, StoredPlace } from './compile/onnx/model-builder.ts';
export { ONNX_LIMITS, readOnnxTensors } from './compile/onnx/read-tensors.ts';
export type { OnnxContents, OnnxPort, OnnxTensor } from './compile/onnx/read-tensors.ts';
export type { OnnxQuantizedNode } from './compile/onnx/quantized-nodes.ts';
export type { ExportDType } from './compile/onnx/onnx-types.ts';
export { COMPILED_KERNELS } from './compile/kernels/index.ts';
export { OnnxGraph, OPEN_AXIS } from './compile/graph.ts';
export type {
  Attribute,
  Attributes,
  GraphNode,
  GraphStats,
  GraphValue,
  LiveGraph,
  ValueType,
} from './compile/graph.ts';
export { cholesky } from './linalg/cholesky.ts';
export type { TriangularOptions } from './linalg/cholesky.ts';
export { triangularInverse } from './linalg/triangular-inverse.ts';
export type { TriangularInverseOptions } from './linalg/triangular-inverse.ts';
export { qr } from './linalg/qr.ts';
export type { QrFactors, QrOptions } from './linalg/qr.ts';
export { symmetricEigen, symmetricEigenvalues } from './linalg/symmetric-eigen.ts';
export type { SymmetricEigen, SymmetricEigenOptions } from './linalg/symmetric-eigen.ts';
export { svd } from './linalg/svd.ts';
export type { Svd, SvdOptions } from './linalg/svd.ts';
export { randomizedSvd } from './linalg/randomized-svd.ts';
export type { RandomizedSvd, RandomizedSvdOptions } from './linalg/randomized-svd.ts';
export type { RealMatrix } from './linalg/matrix.ts';
export { Products } from './linalg/products.ts';
export type { Operand, ProductOptions, RealDType } from './linalg/products.ts';
export { blockColumnsFor, columnSolveBytes, OBS_BLOCK_COLUMNS, solveColumns } from './obs/solve.ts';
export type { ColumnRule, ColumnSpan, Solution, SolveOptions } from './obs/solve.ts';
export type { PoolBlock, SweepRule } from './obs/sweep.ts';
export type { SweepSums } from './obs/sweep-reference.ts';
export { DEFAULT_DAMPING, sweepFactor } from './obs/sweep-factor.ts';
export type { FactorFailure, SweepFactor, SweepFactorOptions } from './obs/sweep-factor.ts';
export { transposeMatrix, transposeOnPool } from './obs/transpose.ts';
export type { ColumnRounding, RoundingRun, RoundingTarget } from './obs/column-rounding.ts';
export { congruence } from './linalg/congruence.ts';
