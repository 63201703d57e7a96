// Option values: text in, checked value out, or a UsageError that names the option.
import { isByteSize, parseByteSize } from '../byte-size.ts';
import { UsageError } from './failure.ts';

/** Parses a whole number of at least `min`. */
export function wholeNumber(option: string, min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^[0-9]+$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) {
      const range = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
      throw new UsageError('OPTION_NOT_A_WHOLE_NUMBER', `${option}: must be a whole number ${range}, got "${text}"`, {
        option,
        value: text,
      });
    }
    return value;
  };
}

/** Takes one of a few names. */
export function oneOf<const T extends string>(option: string, names: readonly T[]): (text: string) => T {
  return (text) => {
    const found = names.find((name) => name === text);
    if (found !== undefined) return found;
    throw new UsageError(
      'OPTION_NOT_A_CHOICE',
      `${option}: must be one of ${names.join(', ')}, got "${text.slice(0, 60)}"`,
      {
        option,
        value: text.slice(0, 60),
        known: [...names],
      },
    );
  };
}

/** Parses a finite number within limits, both included. */
export function realNumber(option: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? NaN : Number(text);
    if (!(value >= min && value <= max)) {
      const range = min === -Number.MAX_VALUE && max === Number.MAX_VALUE ? '' : ` from ${min} to ${max}`;
      throw new UsageError('OPTION_NOT_A_NUMBER', `${option}: must be a number${range}, got "${text}"`, {
        option,
        value: text,
      });
    }
    return value;
  };
}

/** Parses a size: see {@link parseByteSize}. */
export function byteSize(option: string): (text: string) => number {
  return (text) => {
    const bytes = parseByteSize(text);
    if (isByteSize(bytes)) return bytes;
    const constraint = Number.isNaN(bytes) ? 'a size such as 500MB, 2GB or 1.5GiB' : 'from 1 B to 9 PB';
    throw new UsageError('OPTION_NOT_A_SIZE', `${option}: must be ${constraint}, got "${text}"`, {
      option,
      value: text,
    });
  };
}

/** Collects `pattern=name` pairs, in the order in which they are given. */
export function collectPairs(option: string, example: string) {
  return (text: string, previous: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> => {
    const at = text.lastIndexOf('=');
    const [pattern, name] = [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    if (at < 0 || pattern === '' || name === '') {
      throw new UsageError(
        'OPTION_NOT_A_PAIR',
        `${option}: must be a pattern and a name, as in "${example}", got "${text}"`,
        {
          option,
          value: text,
        },
      );
    }
    // Given again it counts as the last one.
    const { [pattern]: _before, ...rest } = previous ?? {};
    return { ...rest, [pattern]: name };
  };
}

/** Parses token ids: `1,15,27`. */
export function idList(option: string): (text: string) => number[] {
  const one = wholeNumber(option, 0, 2 ** 31 - 1);
  return (text) => text.split(',').map((part) => one(part.trim()));
}

/** Adds one value of an option that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/** Parses named amounts: `layers=2,neurons=0.25,kv-groups=1`; a list of layers is written `layers=3+4+5`. */
export function amounts(option: string): (text: string) => Record<string, unknown> {
  return (text) => {
    const made: Record<string, unknown> = {};
    for (const part of text.split(',')) {
      const match = /^([a-z-]+)=([0-9.+]+)$/.exec(part.trim());
      const name = match?.[1]?.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
      const values = match?.[2]?.split('+').map(Number) ?? [NaN];
      const share = match?.[2]?.includes('.') === true && values.some((value) => value >= 1);
      if (share) {
        throw new UsageError(
          'OPTION_NOT_AMOUNTS',
          `${option}: ${match[1]} must be a whole number, which counts, or a share below 1, got ${match[2]}`,
          { option, value: text },
        );
      }
      if (name === undefined || values.some((value) => !Number.isFinite(value)) || name in made) {
        throw new UsageError(
          'OPTION_NOT_AMOUNTS',
          `${option}: must be names with amounts such as layers=2,neurons=0.25,kv-groups=1, got "${text}"`,
          { option, value: text },
        );
      }
      made[name] = values.length === 1 ? values[0] : values;
    }
    return made;
  };
}
