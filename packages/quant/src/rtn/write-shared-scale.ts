// What a weight has one of: a scale and a zero point, or a global scale. A few bytes, written by themselves.
import { fromF32, restoredDType, type KernelHost } from '@pith/tensor-core';
import type { JobStep } from '@pith/tensor-core/node';
import type { ScaleAndZero } from './codec.ts';
import type { PieceName } from './pieces.ts';
import type { ChunkHash, PieceDestinations, WeightPlan } from './rtn-types.ts';

/** What a weight has one of. */
export interface SharedValues {
  /** The scale and zero point of the whole weight. */
  readonly scale?: ScaleAndZero | undefined;
  /** What the scales of its groups are divided by. */
  readonly globalScale?: number | undefined;
}

/** Writes what a weight has one of. */
export async function writeShared(
  host: KernelHost,
  { scheme, pieces }: WeightPlan,
  { scale, globalScale }: SharedValues,
  destinations: PieceDestinations,
  hash: boolean,
  signal: AbortSignal | undefined,
): Promise<readonly { readonly byteLength: number; readonly hash?: ChunkHash }[]> {
  const stored: Partial<Record<PieceName, Uint8Array>> = {
    ...(scale && {
      scales: fromF32(restoredDType(scheme), Float32Array.of(scale.scale)),
      zeroPoints: new Uint8Array(Int8Array.of(scale.zeroPoint).buffer),
    }),
    ...(globalScale !== undefined && { globalScale: fromF32('f32', Float32Array.of(globalScale)) }),
  };
  const written: { byteLength: number; hash?: ChunkHash }[] = [];
  for (const { piece } of pieces) {
    const bytes = stored[piece];
    const destination = destinations[piece];
    if (bytes === undefined || destination === undefined) continue;
    if (destination.kind === 'memory') destination.bytes.set(bytes);
    const region = host.allocate(bytes.length);
    try {
      region.u8.set(bytes);
      const steps: JobStep[] = hash ? [{ op: 'sha256', at: region.at, length: bytes.length }] : [];
      if (destination.kind === 'file') {
        const { path, offset } = destination;
        steps.push({ op: 'write', path, offset, length: bytes.length, at: region.at });
      }
      const [sha256] = steps.length === 0 ? [] : await host.run(steps, { bytes: 0, ...(signal ? { signal } : {}) });
      const found = { of: piece, offset: 0, byteLength: bytes.length, sha256: String(sha256) };
      written.push(hash ? { byteLength: bytes.length, hash: found } : { byteLength: bytes.length });
    } finally {
      host.free(region);
    }
  }
  return written;
}
