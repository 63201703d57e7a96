// The public surface. A name that goes, or changes its meaning, is a breaking change; a new one is a feature.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** The names that an entry exports; it holds named re-exports and nothing else. */
function exportedNames(entry: string): string[] {
  const text = readFileSync(join(import.meta.dirname, entry), 'utf8').replaceAll(/^\/\/.*$/gm, '');
  const rest = text.replaceAll(/export (type )?\{([^}]*)\} from '\.\/[^']+';/g, '').trim();
  expect(rest, 'the entry has explicit named exports only').toBe('');
  return [...text.matchAll(/\{([^}]*)\}/g)]
    .flatMap((match) => match[1]!.split(',').map((name) => name.trim()))
    .filter((name) => name !== '')
    .sort();
}

describe('@pith/tensor-core', () => {
  it('exports these names', () => {
    expect(exportedNames('index.ts')).toMatchInlineSnapshot(`
      [
        "ActivationQuantization",
        "Attribute",
        "Attributes",
        "ByteDType",
        "ByteSource",
        "CHUNK_BYTES",
        "COMPILED_KERNELS",
        "ChannelGranularity",
        "Chunk",
        "ChunkPass",
        "CodeBlock",
        "ColumnRounding",
        "ColumnRule",
        "ColumnSpan",
        "CompileOptions",
        "DEFAULT_DAMPING",
        "DTYPES",
        "DType",
        "DTypeInfo",
        "DenseWeight",
        "DenseWeightParts",
        "Device",
        "DeviceLimits",
        "Executable",
        "FROM_F32_FLOAT_KERNELS",
        "FROM_F32_KERNELS",
        "FactorFailure",
        "FactorNames",
        "FactoredWeight",
        "FactoredWeightParts",
        "FaultKind",
        "FileLocation",
        "FloatScheme",
        "Granularity",
        "GraphNode",
        "GraphStats",
        "GraphValue",
        "GroupGranularity",
        "HostArrays",
        "HostDType",
        "HostTensor",
        "HostTensors",
        "IntegerScheme",
        "InverseFactor",
        "InverseFactorOptions",
        "KernelExports",
        "KernelHost",
        "KernelOfArity",
        "KernelRegion",
        "LiveGraph",
        "OBS_BLOCK_COLUMNS",
        "OnnxGraph",
        "Overflow",
        "PackedLayout",
        "PackedShape",
        "PartAddresses",
        "PithError",
        "PithErrorOptions",
        "PoolBlock",
        "Program",
        "ProgressEstimate",
        "ProgressEvent",
        "ProgressListener",
        "ProgressRateState",
        "QrFactors",
        "QrOptions",
        "QuantizationScheme",
        "QuantizedWeight",
        "QuantizedWeightParts",
        "RATE_HALF_LIFE_SECONDS",
        "RandomStream",
        "RandomizedSvd",
        "RandomizedSvdOptions",
        "RealDType",
        "RealMatrix",
        "RoundingRun",
        "RoundingTarget",
        "RunOptions",
        "STATIC_BYTES",
        "ScaleDType",
        "Signature",
        "Solution",
        "SolveOptions",
        "SparseBlock",
        "SparseWeight",
        "Svd",
        "SvdOptions",
        "SweepRule",
        "SymmetricEigen",
        "SymmetricEigenOptions",
        "TO_F32_KERNELS",
        "TensorActivations",
        "TensorDType",
        "TensorGranularity",
        "TensorSpec",
        "TokenActivations",
        "TracedFunction",
        "TracedInputs",
        "TracedResult",
        "TriangularInverseOptions",
        "TriangularOptions",
        "ValidateOptions",
        "ValidationProblem",
        "ValueType",
        "WasmMemory",
        "WasmModule",
        "WeightBase",
        "WeightTensor",
        "Words4",
        "blockColumnsFor",
        "byteLengthOf",
        "byteRange",
        "cholesky",
        "compile",
        "compileGraph",
        "compileKernels",
        "createKernelMemory",
        "cutIntoChunks",
        "denseWeight",
        "dtypeInfo",
        "elementCount",
        "factorNames",
        "factoredWeight",
        "fromF32",
        "groupsPerRow",
        "instantiateKernels",
        "inverseFactor",
        "isPithError",
        "localHost",
        "memoryBlock",
        "memoryBytes",
        "nearestWord",
        "pack",
        "packAlongRows",
        "packedByteLength",
        "packedWords",
        "packedWordsPerRow",
        "philox4x32",
        "progressRate",
        "qr",
        "quantizedByteLength",
        "quantizedWeight",
        "randomStream",
        "randomizedSvd",
        "requireRows",
        "restore",
        "roundHalfToEven",
        "runChunks",
        "scaleCount",
        "solveColumns",
        "svd",
        "symmetricEigen",
        "symmetricEigenvalues",
        "throwIfStopped",
        "toF32",
        "trace",
        "triangularInverse",
        "unpack",
        "unpackAlongRows",
        "validate",
        "validationProblems",
      ]
    `);
  });

  it('has them at run time', async () => {
    const entry: Record<string, unknown> = await import('./index.ts');
    const names = exportedNames('index.ts');
    expect(names).toEqual(expect.arrayContaining(Object.keys(entry)));
    expect(Object.values(entry).every((value) => value !== undefined)).toBe(true);
  });
});

describe('@pith/tensor-core/node', () => {
  it('exports these names', () => {
    expect(exportedNames('node/index.ts')).toMatchInlineSnapshot(`
      [
        "CallStep",
        "CpuDeviceOptions",
        "DEFAULT_POOL_BYTES",
        "DEFAULT_READ_BYTES",
        "FileBytes",
        "FileBytesOptions",
        "JobOptions",
        "JobStep",
        "KernelName",
        "KernelPool",
        "KernelPoolOptions",
        "MAX_POOL_BYTES",
        "MemoryRegion",
        "ReadStep",
        "SERIAL_JOB_BYTES",
        "Sha256Step",
        "StepResult",
        "WriteStep",
        "cpuDevice",
        "createKernelPool",
        "fileBytes",
      ]
    `);
  });

  it('has them at run time', async () => {
    const entry: Record<string, unknown> = await import('./node/index.ts');
    expect(exportedNames('node/index.ts')).toEqual(expect.arrayContaining(Object.keys(entry)));
  });
});
