// @pith/checkpoint: safetensors, Hugging Face directories, compressed-tensors. No Node import is reachable from here.
export { planOutput } from './safetensors/plan-output.ts';
export type {
  OutputFile,
  OutputIndex,
  OutputLayout,
  OutputPlace,
  OutputTensor,
  PlanOutputOptions,
} from './safetensors/plan-output.ts';
export { openSafetensors } from './safetensors/open-safetensors.ts';
export type { SafetensorsFile, StoredTensor } from './safetensors/safetensors-file.ts';
export { asConvertible, formatName, isConvertible, STORED_DTYPES, storedBits } from './safetensors/stored-dtype.ts';
export type { ConvertibleDType, ExoticDType, StoredDType } from './safetensors/stored-dtype.ts';
export { LOW_RANK_KEY, lowRankConfig } from './low-rank/low-rank-config.ts';
export type { LowRankConfig, LowRankShape } from './low-rank/low-rank-config.ts';
export { storedDenseWeight } from './weights/stored-dense-weight.ts';
export { storedChunks, storedConfig, storedMembers, storedTensors } from './weights/stored-weights.ts';
export type { StoredWeightsOptions } from './weights/stored-weights.ts';
export { QUANTIZATION_KEYS } from './formats/weight-format.ts';
export type { FormatConfig, FormatContext, FormatTensor, WeightFormat } from './formats/weight-format.ts';
export { WEIGHT_FORMATS, weightFormat } from './formats/weight-formats.ts';
export { compressedTensors } from './compressed-tensors/format.ts';
export { gptq } from './gptq/format.ts';
export { awq } from './awq/format.ts';
export { hqq } from './hqq/format.ts';
export { mlx } from './mlx/format.ts';
export { bitsandbytes } from './bitsandbytes/format.ts';
export type { BitsandbytesOptions } from './bitsandbytes/format.ts';
export type { StoredShape } from './formats/weight-format.ts';
export { schemeName } from './formats/scheme-name.ts';

export { openCheckpointFrom } from './huggingface/checkpoint.ts';
export type { Checkpoint, CheckpointQuantization, CheckpointTensor } from './huggingface/checkpoint.ts';
export type { CheckpointFile, FileRole } from './huggingface/file-roles.ts';
export type { FileStore, StoredFile } from './huggingface/file-store.ts';
export { tiedEmbeddings } from './huggingface/tied-embeddings.ts';
export type { TiedEmbeddings } from './huggingface/tied-embeddings.ts';
export { parseJsonObject } from './json/parse-json.ts';
export type { JsonLimits, JsonObject, JsonValue } from './json/parse-json.ts';
export type { JsonOrigin } from './json/json-reader.ts';
export { printJson, setMembers } from './json/set-members.ts';

export { COMPRESSED_TENSORS_VERSION, quantizationConfig, sparsityConfig } from './compressed-tensors/write-config.ts';
export type { ConfigGroup, QuantizationConfigInput, SparsityConfigInput } from './compressed-tensors/write-config.ts';
export { encodeSparseWeight, sparseFormat, sparsePieces } from './compressed-tensors/sparse-pieces.ts';
export type { SparseFormat, SparsePiece, SparsePieceRole, SparseShape } from './compressed-tensors/sparse-pieces.ts';
export { readQuantizationConfig } from './compressed-tensors/quantization-config.ts';
export type { CompressedConfig } from './compressed-tensors/quantization-config.ts';
export type { CompressedFormat, CompressedGroup } from './compressed-tensors/read-group.ts';
export type { MarlinGroup } from './compressed-tensors/marlin-24.ts';
export type { ActivationForm } from './compressed-tensors/read-activations.ts';
export { KV_SCALE_NAMES, OLD_KV_SCALE_NAMES } from './compressed-tensors/kv-cache-scheme.ts';
export type { KeyValueCache, KvCacheScheme } from './compressed-tensors/kv-cache-scheme.ts';
export { readCompressedWeights } from './compressed-tensors/read-weights.ts';
export { compressedFormat, storedPieces } from './compressed-tensors/stored-pieces.ts';
export type { PieceRole, QuantizedShape, StoredPiece } from './compressed-tensors/stored-pieces.ts';
export { encodeBlock, encodeWeight, rowAlignment } from './compressed-tensors/encode-block.ts';
export type { StoredChunk } from './compressed-tensors/encode-block.ts';
export { planGguf } from './gguf/encode-header.ts';
export type { GgufLayout, GgufTensorSpec, PlacedTensor } from './gguf/encode-header.ts';
export { GGML_TYPES, ggmlTypeName } from './gguf/ggml-types.ts';
export type { GgmlType, GgmlTypeName } from './gguf/ggml-types.ts';
export type { GgufArray, GgufFile, GgufScalar, GgufTensor, GgufValue, GgufValueType } from './gguf/gguf-file.ts';
export type { Imatrix, ImatrixEntry } from './gguf/imatrix/imatrix.ts';
export { readImatrix } from './gguf/imatrix/read-imatrix.ts';
export { openGguf } from './gguf/open-gguf.ts';
export { openGgufSet } from './gguf/open-gguf-set.ts';
export type { GgufSet } from './gguf/open-gguf-set.ts';
export { isRestorable, restoreBlocks } from './gguf/restore-blocks.ts';

export { createHubClient, DEFAULT_ENDPOINT } from './hub/hub-client.ts';
export type { HubClient, HubClientOptions } from './hub/hub-client.ts';
export { isCommit, isRepositoryId, isRevision, parseHubId } from './hub/hub-id.ts';
export type { HubId } from './hub/hub-id.ts';
export { openHubRepository } from './hub/hub-repository.ts';
export type { HubFile, HubRepository } from './hub/hub-repository.ts';
export { hubStore } from './hub/hub-store.ts';
export type { HubStoreOptions } from './hub/hub-store.ts';
export { readHubLicence } from './hub/read-card.ts';
export type { HubLicence } from './hub/read-card.ts';
