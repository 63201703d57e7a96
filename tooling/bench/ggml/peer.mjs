// ggml's and llama.cpp's own quantizers, where node-llama-cpp is installed (tooling/runtimes) and a C compiler is at hand.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LIBRARIES = fileURLToPath(
  new URL('../../runtimes/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64', import.meta.url),
);

/**
 * Compiles quantize-peer.c into `work`.
 * @param {string} work
 * @returns {{ program: string, libraries: string } | null} null where it cannot be had
 */
export function quantizePeer(work) {
  if (!existsSync(join(LIBRARIES, 'libggml-base.so'))) return null;
  const program = join(work, 'quantize-peer');
  const source = fileURLToPath(new URL('quantize-peer.c', import.meta.url));
  try {
    execFileSync('cc', ['-O2', '-o', program, source, '-ldl'], { stdio: 'pipe' });
  } catch {
    return null;
  }
  return { program, libraries: LIBRARIES };
}
