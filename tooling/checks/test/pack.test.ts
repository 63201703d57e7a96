// What a user gets: the tarballs, installed outside the workspace, imported, type-checked, run.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'pith-pack-'));
const tarballs: Record<string, string> = {};

/** Dependencies inside the repository, in the order of the arrows. */
const CLOSURE = ['tensor-core', 'checkpoint', 'model', 'quant', 'prune', 'lowrank', 'distill', 'pith'] as const;

const run = (command: string, args: string[], cwd: string): string =>
  execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', npm_config_update_notifier: 'false' },
    maxBuffer: 64 << 20,
  });

beforeAll(() => {
  for (const folder of CLOSURE) {
    const out = run('npm', ['pack', '--json', '--pack-destination', work], join(root, 'packages', folder));
    const [{ filename }] = JSON.parse(out) as [{ filename: string }];
    tarballs[folder] = join(work, basename(filename));
  }
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** An empty folder with the tarballs of `folders` installed, without scripts. */
function consumer(name: string, folders: readonly string[]): string {
  const dir = join(work, name);
  mkdirSync(dir);
  // Packages of the repository are not on a registry: tell npm where each lies, whoever asks for it.
  const spec = (folder: string): [string, string] => [
    folder === 'pith' ? 'pith' : `@pith/${folder}`,
    `file:${tarballs[folder]}`,
  ];
  writeFileSync(
    join(dir, 'package.json'),
    JSON.stringify({
      name,
      private: true,
      type: 'module',
      dependencies: Object.fromEntries(folders.map(spec)),
      devDependencies: { typescript: '~6.0.3', '@types/node': '^20.19.0' },
    }),
  );
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], dir);
  return dir;
}

/**
 * Folders of declarations that do not check by themselves: tfjs-core names a type that it does not declare, and the WebGPU
 * types that it brings clash with those of TypeScript. Users have `skipLibCheck` on for such; ours are checked.
 */
const FOREIGN = ['@tensorflow', '@webgpu', 'typescript'];

/** Errors in the consumer and in the declarations of this repository. */
function typeErrors(dir: string, code: string): string[] {
  writeFileSync(join(dir, 'consumer.ts'), code);
  writeFileSync(
    join(dir, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        exactOptionalPropertyTypes: true,
        module: 'NodeNext',
        target: 'ES2022',
        types: ['node'],
        skipLibCheck: false,
        noEmit: true,
      },
      files: ['consumer.ts'],
    }),
  );
  const tsc = join(dir, 'node_modules/typescript/bin/tsc');
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', dir, '--pretty', 'false'], { cwd: dir, encoding: 'utf8' });
  const errors = stdout.split('\n').filter((line) => /: error TS\d+/.test(line));
  return errors.filter((line) => !FOREIGN.some((folder) => line.startsWith(`node_modules/${folder}/`)));
}

const fixture = (name: string): string => readFileSync(new URL(`./consumers/${name}`, import.meta.url), 'utf8');

describe('@pith/quant alone', () => {
  let dir = '';
  beforeAll(() => {
    dir = consumer('quant-alone', CLOSURE.slice(0, 4));
  });

  it('imports from ESM and quantizes a weight', () => {
    cpSync(fileURLToPath(new URL('./consumers/quant.mjs', import.meta.url)), join(dir, 'main.mjs'));
    expect(run(process.execPath, ['main.mjs'], dir).trim()).toMatch(/^ok \d+ bytes$/);
  });

  it('type-checks a ten-line consumer', () => {
    expect(typeErrors(dir, fixture('quant.ts.txt'))).toEqual([]);
  });
});

describe('pith alone', () => {
  let dir = '';
  beforeAll(() => {
    dir = consumer('pith-alone', CLOSURE);
  });

  it('runs npx pith --version', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'packages/pith/package.json'), 'utf8')) as {
      version: string;
    };
    expect(run('npx', ['--no-install', 'pith', '--version'], dir).trim()).toBe(version);
  });

  it('imports from ESM and plans a quantization', () => {
    cpSync(join(root, 'examples/demo-model/checkpoint'), join(dir, 'model'), { recursive: true });
    cpSync(fileURLToPath(new URL('./consumers/pith.mjs', import.meta.url)), join(dir, 'main.mjs'));
    expect(run(process.execPath, ['main.mjs'], dir).trim()).toMatch(/^ok [\d.]+ bits per weight$/);
  });

  it('type-checks a ten-line consumer', () => {
    expect(typeErrors(dir, fixture('pith.ts.txt'))).toEqual([]);
  });
});
