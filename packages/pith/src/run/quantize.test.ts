import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { plan } from '../plan/plan.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { fileHashes } from '../testing/files.fixture.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';
import { quantize, type QuantizeRunOptions } from './quantize.ts';

const SCHEME = 'w4g64';
let root: string;
let model: string;
let expected: Record<string, string>;
let directory: string;
let output: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pith-quantize-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 2, hidden: 128, feedForward: 256 });
  await quantize(model, { output: join(root, 'expected'), scheme: SCHEME });
  expected = fileHashes(join(root, 'expected'));
});
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => {
  directory = mkdtempSync(join(root, 'run-'));
  output = join(directory, 'out');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const run = (options: Partial<QuantizeRunOptions> = {}, source = model) =>
  quantize(source, { output, scheme: SCHEME, ...options });

/** Stops a run after so many progress events. */
async function stopAfter(events: number, source = model): Promise<void> {
  const abort = new AbortController();
  let seen = 0;
  const progress = (): void => {
    if (++seen === events) abort.abort();
  };
  await expect(run({ signal: abort.signal, progress }, source)).rejects.toMatchObject({
    code: 'STOPPED',
    kind: 'stopped',
  });
  expect(existsSync(output)).toBe(false);
}

describe('quantize', () => {
  it.each([
    ['w4g64', {}],
    ['w4g128-asym', {}],
    ['w3g128', {}],
    ['w8', { shardBytes: 200_000 }],
    ['w8a8', {}],
    ['fp8', {}],
    ['w4-tensor', {}],
    ['w4g64', { include: ['mlp'], range: 'mse' }],
    ['w8', { ignore: ['re:.*'] }],
  ])('writes exactly the bytes that the plan of %s %j says', async (scheme, options) => {
    const planned = await plan(model, { scheme, ...options });
    expect(planned.problems).toEqual([]);
    const result = await run({ scheme, ...options });
    const written = readdirSync(output)
      .filter((name) => /safetensors/.test(name))
      .reduce((sum, name) => sum + readFileSync(join(output, name)).length, 0);
    expect(written).toBe(planned.bytesAfter);
    expect(result).toMatchObject({
      bytesAfter: written,
      bytesBefore: planned.bytesBefore,
      bitsPerWeight: planned.bitsPerWeight,
    });
    const receipt = await readReceipt(output);
    const stored = receipt.output.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(receipt.totals.bitsPerWeight).toBe((8 * stored) / planned.parameters);
    expect(planned.tensors.reduce((sum, { bytesAfter }) => sum + bytesAfter, 0)).toBe(stored);
    expect(result.peakMemoryBytes).toBeLessThan(2 ** 31);
    expect(await verify(output)).toMatchObject({ ok: true, problems: [] });
    expect(readdirSync(directory)).toEqual(['out']);
  });

  it('gives the same bytes and the same seal for any number of threads', async () => {
    await run({ threads: 1 });
    expect(fileHashes(output)).toEqual(expected);
    const first = await readReceipt(join(root, 'expected'));
    const second = await readReceipt(output);
    expect(second.seal).toBe(first.seal);
  });

  it('tells all that does not fit at once, before anything is written', async () => {
    const failure = await run({ scheme: 'w4g96' }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'PLAN_PROBLEMS', kind: 'input' });
    const { problems } = (failure as { details: { problems: { name: string; code: string }[] } }).details;
    expect(problems).toHaveLength(14);
    expect(new Set(problems.map(({ code }) => code))).toEqual(new Set(['GROUP_DOES_NOT_DIVIDE']));
    expect(readdirSync(directory)).toEqual([]);
  });

  it('refuses a memory limit that the plan does not fit into, and values out of range, before any work', async () => {
    await expect(run({ memoryBytes: 1e6 })).rejects.toThrow('the run needs up to');
    await expect(run({ threads: 0 })).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
    await expect(run({ method: 'rnt' })).rejects.toThrow('did you mean rtn?');
    await expect(run({ colour: 'red' } as Partial<QuantizeRunOptions>)).rejects.toThrow('colour');
    expect(readdirSync(directory)).toEqual([]);
  });

  it('stops at a weight that is not finite, naming it, and leaves nothing that looks finished', async () => {
    const copy = join(directory, 'model');
    cpSync(model, copy, { recursive: true });
    const file = join(copy, 'model.safetensors');
    const bytes = readFileSync(file);
    const head = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, head)) as Record<string, { data_offsets: [number, number] }>;
    const name = 'model.layers.1.mlp.down_proj.weight';
    bytes.writeUInt16LE(0x7fc0, head + header[name]!.data_offsets[0] + 2 * (3 * 256 + 5));
    writeFileSync(file, bytes);
    await expect(run({}, copy)).rejects.toMatchObject({
      code: 'WEIGHT_NOT_FINITE',
      kind: 'input',
      message: expect.stringContaining(name) as string,
    });
    expect(existsSync(output)).toBe(false);
  });

  it('quantizes a quantized source again, and says so', async () => {
    const notices: string[] = [];
    await run({ scheme: 'w8', onPlan: (made) => notices.push(...made.notices) }, join(root, 'expected'));
    expect(notices).toEqual([
      expect.stringMatching(/14 quantized weights \(compressed-tensors w4g64\): .* quantized again/),
    ]);
    expect((await verify(output)).ok).toBe(true);
    const { stages, weights } = await readReceipt(output);
    expect(stages).toMatchObject([{ kind: 'quantize', method: 'rtn' }]);
    // 8 bits of values that had 4 lose next to nothing.
    const [worst] = weights.flatMap(({ error }) => error?.snrDb ?? []).sort((a, b) => a - b);
    expect(worst).toBeGreaterThan(30);
  });
});

describe('resume', () => {
  it('does not touch unfinished work whose journal cannot be read', async () => {
    await stopAfter(9);
    writeFileSync(join(`${output}.pith-partial`, 'journal.jsonl'), 'of another version\n');
    await expect(run()).rejects.toMatchObject({ code: 'OUTPUT_UNFINISHED_DIFFERS' });
    await run({ overwrite: true });
    expect(fileHashes(output)).toEqual(expected);
  });

  it.each([1, 3, 9, 15])('continues after being stopped at event %d and ends with the same bytes', async (events) => {
    await stopAfter(events);
    expect(readdirSync(directory)).toEqual(['out.pith-partial']);
    let finished = -1;
    await run({ onPlan: (_plan, units) => (finished = units) });
    expect(finished).toBeGreaterThanOrEqual(events > 3 ? 1 : 0);
    expect(fileHashes(output)).toEqual(expected);
    expect((await readReceipt(output)).seal).toBe((await readReceipt(join(root, 'expected'))).seal);
    expect(readdirSync(directory)).toEqual(['out']);
  });

  it('does a unit again whose bytes are not those of the journal', async () => {
    await stopAfter(12);
    const artefact = join(`${output}.pith-partial`, 'artefact.partial');
    const [name] = readdirSync(artefact).filter((file) => file.includes('safetensors'));
    const bytes = readFileSync(join(artefact, name!));
    // All tensor data zeroed, as a power failure may leave it; the journal still lists units.
    const head = 8 + Number(bytes.readBigUInt64LE(0));
    writeFileSync(join(artefact, name!), Buffer.concat([bytes.subarray(0, head), Buffer.alloc(bytes.length - head)]));
    let finished = -1;
    await run({ onPlan: (_plan, units) => (finished = units) });
    expect(finished).toBe(0);
    expect(fileHashes(output)).toEqual(expected);
  });

  it('refuses other options, and replaces the unfinished run when asked to', async () => {
    await stopAfter(9);
    const failure = run({ scheme: 'w8' });
    await expect(failure).rejects.toMatchObject({ code: 'OUTPUT_UNFINISHED_DIFFERS', kind: 'input' });
    await expect(failure).rejects.toThrow(/--overwrite or delete/);
    await run({ scheme: 'w8', overwrite: true });
    expect((await readReceipt(output)).options).toMatchObject({ scheme: 'w8' });
  });

  it('accepts a source whose time alone has changed', async () => {
    const copy = join(directory, 'model');
    cpSync(model, copy, { recursive: true });
    await stopAfter(9, copy);
    utimesSync(join(copy, 'model.safetensors'), new Date(), new Date(2020, 1, 1));
    let finished = -1;
    await run({ onPlan: (_plan, units) => (finished = units) }, copy);
    expect(finished).toBeGreaterThan(0);
    expect(fileHashes(output)).toEqual(expected);
  });

  it('refuses a source whose values have changed, and names them', async () => {
    const copy = join(directory, 'model');
    cpSync(model, copy, { recursive: true });
    await stopAfter(9, copy);
    const journal = readFileSync(join(`${output}.pith-partial`, 'journal.jsonl'), 'utf8')
      .trim()
      .split('\n');
    const { unit } = JSON.parse(journal[1]!) as { unit: string };
    const file = join(copy, 'model.safetensors');
    const bytes = readFileSync(file);
    const head = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, head)) as Record<string, { data_offsets: [number, number] }>;
    bytes[head + header[unit]!.data_offsets[0]]! ^= 1;
    writeFileSync(file, bytes);
    const failure = run({}, copy);
    await expect(failure).rejects.toMatchObject({ code: 'SOURCE_CHANGED', details: { tensors: [unit] } });
    expect(existsSync(output)).toBe(false);
  });

  it('refuses a source whose config has changed', async () => {
    const copy = join(directory, 'model');
    cpSync(model, copy, { recursive: true });
    await stopAfter(9, copy);
    writeFileSync(join(copy, 'generation_config.json'), '{"bos_token_id": 2}\n');
    await expect(run({}, copy)).rejects.toMatchObject({
      code: 'SOURCE_CHANGED',
      details: { files: ['generation_config.json'] },
    });
  });

  it('refuses a source that changes while it is read', async () => {
    const copy = join(directory, 'model');
    cpSync(model, copy, { recursive: true });
    const file = join(copy, 'model.safetensors');
    const touch = (): void => utimesSync(file, new Date(), new Date(2020, 1, 1));
    await expect(run({ onPlan: touch }, copy)).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
    expect(existsSync(output)).toBe(false);
    await run({}, copy);
    expect(fileHashes(output)).toEqual(expected);
  });
});

describe('output', () => {
  it('that exists is refused and left alone', async () => {
    mkdirSync(output);
    writeFileSync(join(output, 'mine.txt'), 'x');
    await expect(run()).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' });
    await expect(run({ overwrite: true })).rejects.toThrow('only an artefact of Pith is replaced');
    expect(readdirSync(directory)).toEqual(['out']);
    expect(readdirSync(output)).toEqual(['mine.txt']);
  });

  it('that is an empty directory is used', async () => {
    mkdirSync(output);
    await run();
    expect(fileHashes(output)).toEqual(expected);
  });

  it('that is an artefact is replaced when asked to, and whole until then', async () => {
    await run({ scheme: 'w8' });
    const before = fileHashes(output);
    await expect(run()).rejects.toThrow('--overwrite');
    const abort = new AbortController();
    await expect(run({ overwrite: true, signal: abort.signal, progress: () => abort.abort() })).rejects.toThrow(
      'stopped',
    );
    expect(fileHashes(output)).toEqual(before);
    await run({ overwrite: true });
    expect(fileHashes(output)).toEqual(expected);
    expect(readdirSync(directory)).toEqual(['out']);
  });

  it('that another run is writing is refused', async () => {
    let second: unknown;
    const progress = (): void => {
      second ??= run().catch((error: unknown) => error);
    };
    await run({ progress });
    // Too late to find it running, it finds its output.
    expect(['OUTPUT_LOCKED', 'OUTPUT_EXISTS']).toContain(((await second) as { code: string }).code);
    expect(fileHashes(output)).toEqual(expected);
  });

  it('in a place that cannot be written is refused', async () => {
    if (process.getuid?.() === 0) {
      // Root writes anywhere, but not into what is no directory.
      writeFileSync(join(directory, 'file'), '');
      await expect(run({ output: join(directory, 'file', 'out') })).rejects.toMatchObject({ kind: 'input' });
      return;
    }
    chmodSync(directory, 0o500);
    await expect(run()).rejects.toMatchObject({ code: 'OUTPUT_NOT_WRITABLE' });
    chmodSync(directory, 0o700);
  });

  it('is complete after a kill between the last two steps', async () => {
    await run();
    // As if killed after the artefact got its name and before the working directory was removed.
    const started = (await readReceipt(output)).run.started;
    const planSha256 = (await readReceipt(output)).planSha256;
    await stopAfterCopy(started, planSha256);
    const result = await run();
    expect(result.receipt).toBe(join(output, 'pith-receipt.json'));
    expect(readdirSync(directory)).toEqual(['out']);
    await expect(run()).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' });
  });
});

/** Puts down the journal that a run leaves when it is killed right before tidying up. */
async function stopAfterCopy(started: string, planSha256: string): Promise<void> {
  const other = join(directory, 'other');
  const abort = new AbortController();
  await quantize(model, { output: other, scheme: SCHEME, signal: abort.signal, progress: () => abort.abort() }).catch(
    () => 0,
  );
  const [line] = readFileSync(join(`${other}.pith-partial`, 'journal.jsonl'), 'utf8').split('\n');
  const header = JSON.parse(line!) as object;
  mkdirSync(`${output}.pith-partial`);
  writeFileSync(
    join(`${output}.pith-partial`, 'journal.jsonl'),
    JSON.stringify({ ...header, started, plan: planSha256 }) + '\n',
  );
  rmSync(`${other}.pith-partial`, { recursive: true });
}
