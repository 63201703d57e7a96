// Numbers and tables as people read them.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Bytes in powers of 1000 with three significant digits: `2.21 GB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${significant(value, 3)} ${UNITS[unit]}`;
}

/** Counts with a suffix: `1.10 B` parameters, `260 k`. */
export function formatCount(count: number): string {
  if (count < 1000) return String(count);
  for (const [limit, size, suffix] of [
    [999.5e3, 1e3, 'k'],
    [999.5e6, 1e6, 'M'],
    [999.5e9, 1e9, 'B'],
    [Infinity, 1e12, 'T'],
  ] as const) {
    if (count < limit) return `${significant(count / size, 3)} ${suffix}`;
  }
  return String(count);
}

/** Seconds as `0.42 s`, `12 s`, `3 min 05 s`, `2 h 10 min`. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 9.995) return `${seconds.toFixed(seconds < 0.995 ? 2 : 1)} s`;
  const whole = Math.ceil(seconds - 0.5);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.floor(whole / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** A number with so many significant digits, without exponent. */
export function significant(value: number, digits: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const rounded = Math.abs(Number(value.toPrecision(digits)));
  return value.toFixed(Math.min(20, Math.max(0, digits - 1 - Math.floor(Math.log10(rounded)))));
}

/** `1 tensor`, `2 tensors`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Rows under titles, columns two spaces apart, no trailing spaces; ends with a newline. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map((column, i) => Math.max(column.title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, i) => {
        const cell = cells[i] ?? '';
        return column.align === 'right' ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!);
      })
      .join('  ')
      .trimEnd();
  return [line(columns.map((column) => column.title)), ...rows.map(line)].join('\n') + '\n';
}

/** Facts under one another, names padded to one width; ends with a newline. */
export function formatFacts(facts: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(0, ...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}
