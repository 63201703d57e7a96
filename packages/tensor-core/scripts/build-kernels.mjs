// Compiles assembly/ twice, for a shared and for a private memory, and writes src/generated/kernels-wasm.ts: both
// binaries in base64 and the documented, typed list of exports. Run by `npm run generate`.
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = fileURLToPath(new URL('../', import.meta.url));
const MAX_PAGES = 65536;

/**
 * @param {boolean} shared whether the imported memory is shared between threads
 * @returns {Promise<{ wasm: Uint8Array, declarations: string }>}
 */
async function compile(shared) {
  /** @type {Map<string, string | Uint8Array>} */
  const files = new Map();
  const { error, stderr } = await asc.main(
    [
      'assembly/index.ts',
      ...['--outFile', 'kernels.wasm', '--bindings', 'raw', '--runtime', 'stub'],
      ...['--optimizeLevel', '3', '--shrinkLevel', '0', '--converge', '--noAssert'],
      ...['--enable', 'simd', '--enable', 'threads', '--importMemory', '--initialMemory', '1'],
      ...['--maximumMemory', String(MAX_PAGES), ...(shared ? ['--sharedMemory'] : [])],
    ],
    { readFile, writeFile: (name, contents) => void files.set(name, contents), listFiles: () => [] },
  );
  if (error) throw new Error(`generate: the kernels do not compile\n${stderr.toString()}`, { cause: error });
  const wasm = files.get('kernels.wasm');
  const declarations = files.get('kernels.d.ts');
  if (!(wasm instanceof Uint8Array) || typeof declarations !== 'string')
    throw new Error('generate: asc wrote no binary');
  return { wasm, declarations };
}

/** @param {string} name */
function readFile(name) {
  try {
    return readFileSync(`${root}${name}`, 'utf8');
  } catch {
    return null; // asc tries several places for each import
  }
}

/** The docstring of every exported function of assembly/, by name. */
function docstrings() {
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const file of readdirSync(`${root}assembly`).filter((name) => name.endsWith('.ts'))) {
    const source = readFileSync(`${root}assembly/${file}`, 'utf8');
    for (const match of source.matchAll(/(\/\*\*(?:(?!\*\/)[\s\S])*\*\/)\nexport function (\w+)\(/g)) {
      found.set(match[2] ?? '', match[1] ?? '');
    }
  }
  return found;
}

/**
 * The functions of asc's declarations as documented members of one interface.
 * @param {string} declarations
 */
function members(declarations) {
  const body = /declare namespace __AdaptedExports \{([\s\S]*?)\n\}/.exec(declarations)?.[1];
  if (body === undefined) throw new Error(`generate: declarations of an unknown form\n${declarations}`);
  const docs = docstrings();
  return [...body.matchAll(/export function (\w+)\(([^)]*)\): (\w+);/g)].map(([, name = '', parameters, result]) => {
    const doc = docs.get(name);
    if (doc === undefined) throw new Error(`generate: kernel ${name} has no docstring`);
    if (/bigint/.test(`${parameters}${result}`))
      throw new Error(`generate: kernel ${name} has an i64 in its signature`);
    return `  ${doc.replaceAll('\n', '\n  ')}\n  ${name}(${parameters}): ${result};`;
  });
}

const shared = await compile(true);
const unshared = await compile(false);
const lines = members(shared.declarations);
const text = `// Written by scripts/build-kernels.mjs from assembly/. Do not edit.

/** The kernels: addresses and counts in, numbers out. Each is written in assembly/. */
export interface KernelExports {
${lines.join('\n')}
}

/** Base64 of the build for a memory that threads share. */
export const SHARED_KERNELS = '${Buffer.from(shared.wasm).toString('base64')}';

/** Base64 of the build for a memory of one thread. */
export const UNSHARED_KERNELS = '${Buffer.from(unshared.wasm).toString('base64')}';
`;
mkdirSync(`${root}src/generated`, { recursive: true });
// By rename: a test that runs meanwhile reads the old file or the new one, never a part.
const temporary = `${root}src/generated/.kernels-wasm.${process.pid}.tmp`;
writeFileSync(temporary, text);
renameSync(temporary, `${root}src/generated/kernels-wasm.ts`);
process.stdout.write(`kernels: ${lines.length} exports, ${shared.wasm.length} bytes\n`);
