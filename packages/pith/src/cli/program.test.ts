import { describe, expect, it } from 'vitest';
import { version } from '../version.ts';
import { cli } from './cli-host.fixture.ts';

const COMMANDS = ['inspect', 'plan', 'quantize', 'eval', 'generate', 'logits', 'verify', 'doctor'];

describe('pith', () => {
  it('prints its version', async () => {
    expect(await cli('--version')).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('lists its commands and exit statuses', async () => {
    const { exitCode, stdout } = await cli('--help');
    expect(exitCode).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    expect(stdout).toContain('2 input or options are wrong');
  });

  it.each(COMMANDS)('%s has help with an example that is itself', async (command) => {
    const { exitCode, stdout } = await cli(command, '--help');
    expect(exitCode).toBe(0);
    expect(stdout).toContain('Examples:');
    expect(stdout).toContain(`$ pith ${command}`);
    for (const flag of ['--json', '--quiet', '--seed', '--memory', '--device', '--threads']) {
      expect(stdout).toContain(flag);
    }
  });

  it.each([
    [['quantise', 'm'], 'CLI_UNKNOWN_COMMAND', 'quantize'],
    [['inspect', 'm', '--jsn'], 'CLI_UNKNOWN_OPTION', '--json'],
    [['quantize', 'm'], 'CLI_MISSING_MANDATORY_OPTION_VALUE', '--output'],
    [['plan'], 'CLI_MISSING_ARGUMENT', 'model'],
    [['plan', 'm', 'n'], 'CLI_EXCESS_ARGUMENTS', 'plan'],
    [['plan', 'm', '--scheme'], 'CLI_OPTION_MISSING_ARGUMENT', '--scheme'],
    [['plan', 'm', '--memory', 'lots'], 'OPTION_NOT_A_SIZE', '2GB'],
    [['plan', 'm', '--threads', '0'], 'OPTION_NOT_A_WHOLE_NUMBER', '--threads'],
    [['plan', 'm', '--device', 'cqu'], 'CLI_INVALID_ARGUMENT', 'choices are cpu'],
    [['generate', 'm', '--prompt', '', '--top-p', '2'], 'OPTION_NOT_A_NUMBER', '--top-p'],
    [['logits', 'm', '--ids', '1,x', '-o', 'f'], 'OPTION_NOT_A_WHOLE_NUMBER', '--ids'],
    [['logits', 'm', '--ids', '1', '--segments', 'a', '-o', 'f'], 'OPTION_NOT_A_WHOLE_NUMBER', '--segments'],
    [[], 'CLI_NO_COMMAND', 'pith --help'],
  ])('refuses %j with status 2 and says what would do', async (args, code, hint) => {
    const plain = await cli(...args);
    expect(plain.exitCode).toBe(2);
    expect(plain.stdout).toBe('');
    expect(plain.stderr).toMatch(/^error /);
    expect(plain.stderr).toContain(hint);
    const json = await cli(...args.slice(0, 1), '--json', ...args.slice(1));
    expect(json.exitCode).toBe(2);
    const { error } = JSON.parse(json.stdout) as { error: { code: string; message: string; details: unknown } };
    expect(Object.keys(error)).toEqual(['code', 'message', 'details']);
    if (args.length > 0) expect(error.code).toBe(code);
  });
});
