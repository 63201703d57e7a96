// The public surface. A name that goes, or changes its meaning, is a breaking change; a new one is a feature.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** The names that an entry exports; it holds named re-exports and nothing else. */
function exportedNames(entry: string): string[] {
  const text = readFileSync(join(import.meta.dirname, entry), 'utf8').replaceAll(/^\/\/.*$/gm, '');
  const rest = text.replaceAll(/export (type )?\{([^}]*)\} from '\.{1,2}\/[^']+';/g, '').trim();
  expect(rest, 'the entry has explicit named exports only').toBe('');
  return [...text.matchAll(/\{([^}]*)\}/g)]
    .flatMap((match) => match[1]!.split(',').map((name) => name.trim()))
    .filter((name) => name !== '')
    .sort();
}

describe('@pith/checkpoint', () => {
  it('exports these names', () => {
    expect(exportedNames('index.ts')).toMatchInlineSnapshot(`
      [
        "ActivationForm",
        "BitsandbytesOptions",
        "COMPRESSED_TENSORS_VERSION",
        "Checkpoint",
        "CheckpointFile",
        "CheckpointQuantization",
        "CheckpointTensor",
        "CompressedConfig",
        "CompressedFormat",
        "CompressedGroup",
        "ConfigGroup",
        "ConvertibleDType",
        "DEFAULT_ENDPOINT",
        "ExoticDType",
        "FileRole",
        "FileStore",
        "FormatConfig",
        "FormatContext",
        "FormatTensor",
        "GGML_TYPES",
        "GgmlType",
        "GgmlTypeName",
        "GgufArray",
        "GgufFile",
        "GgufLayout",
        "GgufScalar",
        "GgufSet",
        "GgufTensor",
        "GgufTensorSpec",
        "GgufValue",
        "GgufValueType",
        "HubClient",
        "HubClientOptions",
        "HubFile",
        "HubId",
        "HubLicence",
        "HubRepository",
        "HubStoreOptions",
        "Imatrix",
        "ImatrixEntry",
        "JsonLimits",
        "JsonObject",
        "JsonOrigin",
        "JsonValue",
        "KV_SCALE_NAMES",
        "KeyValueCache",
        "KvCacheScheme",
        "LOW_RANK_KEY",
        "LowRankConfig",
        "LowRankShape",
        "MarlinGroup",
        "OLD_KV_SCALE_NAMES",
        "OutputFile",
        "OutputIndex",
        "OutputLayout",
        "OutputPlace",
        "OutputTensor",
        "PieceRole",
        "PlacedTensor",
        "PlanOutputOptions",
        "QUANTIZATION_KEYS",
        "QuantizationConfigInput",
        "QuantizedShape",
        "STORED_DTYPES",
        "SafetensorsFile",
        "SparseFormat",
        "SparsePiece",
        "SparsePieceRole",
        "SparseShape",
        "SparsityConfigInput",
        "StoredChunk",
        "StoredDType",
        "StoredFile",
        "StoredPiece",
        "StoredShape",
        "StoredTensor",
        "StoredWeightsOptions",
        "TiedEmbeddings",
        "WEIGHT_FORMATS",
        "WeightFormat",
        "asConvertible",
        "awq",
        "bitsandbytes",
        "compressedFormat",
        "compressedTensors",
        "createHubClient",
        "encodeBlock",
        "encodeSparseWeight",
        "encodeWeight",
        "formatName",
        "ggmlTypeName",
        "gptq",
        "hqq",
        "hubStore",
        "isCommit",
        "isConvertible",
        "isRepositoryId",
        "isRestorable",
        "isRevision",
        "lowRankConfig",
        "mlx",
        "openCheckpointFrom",
        "openGguf",
        "openGgufSet",
        "openHubRepository",
        "openSafetensors",
        "parseHubId",
        "parseJsonObject",
        "planGguf",
        "planOutput",
        "printJson",
        "quantizationConfig",
        "readCompressedWeights",
        "readHubLicence",
        "readImatrix",
        "readQuantizationConfig",
        "restoreBlocks",
        "rowAlignment",
        "schemeName",
        "setMembers",
        "sparseFormat",
        "sparsePieces",
        "sparsityConfig",
        "storedBits",
        "storedChunks",
        "storedConfig",
        "storedDenseWeight",
        "storedMembers",
        "storedPieces",
        "storedTensors",
        "tiedEmbeddings",
        "weightFormat",
      ]
    `);
  });

  it('has them at run time', async () => {
    const entry: Record<string, unknown> = await import('./index.ts');
    expect(exportedNames('index.ts')).toEqual(expect.arrayContaining(Object.keys(entry)));
  });
});

describe('@pith/checkpoint/node', () => {
  it('exports these names', () => {
    expect(exportedNames('node/index.ts')).toMatchInlineSnapshot(`
      [
        "CheckpointContent",
        "CheckpointOutput",
        "CopiedFile",
        "DirectoryStore",
        "DirectoryStoreOptions",
        "FetchHubFilesOptions",
        "FetchedHubFiles",
        "HubModel",
        "HubSettings",
        "HubUpload",
        "LocalCheckpoint",
        "LocalSafetensors",
        "Lock",
        "OpenHubModelOptions",
        "OpenOutputOptions",
        "OutputLocation",
        "UploadOptions",
        "Uploaded",
        "acquireLock",
        "directoryStore",
        "fetchHubFiles",
        "openCheckpoint",
        "openHubModel",
        "openOutput",
        "openSafetensorsFile",
        "outputError",
        "readHubSettings",
        "saveCheckpoint",
        "uploadFiles",
        "workingDirectoryOf",
      ]
    `);
  });

  it('has them at run time', async () => {
    const entry: Record<string, unknown> = await import('./node/index.ts');
    expect(exportedNames('node/index.ts')).toEqual(expect.arrayContaining(Object.keys(entry)));
  });
});
