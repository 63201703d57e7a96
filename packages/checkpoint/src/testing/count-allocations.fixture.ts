// Counts the bytes of typed arrays and buffers that code allocates, by standing in for their constructors.
const NAMES = [
  'ArrayBuffer',
  'Uint8Array',
  'Int8Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'BigInt64Array',
] as const;

/** Runs `work` and returns the bytes that were allocated meanwhile; views of existing memory do not count. */
export async function countAllocations(work: () => Promise<unknown>): Promise<number> {
  let bytes = 0;
  const scope = globalThis as unknown as Record<string, unknown>;
  const originals = NAMES.map((name) => scope[name]);
  for (const name of NAMES) {
    scope[name] = new Proxy(scope[name] as new (...args: unknown[]) => ArrayBufferView, {
      construct(target, args: unknown[], newTarget) {
        // Told before it is made: a demand for terabytes must be seen even though it fails.
        if (typeof args[0] === 'number') bytes += args[0];
        const made = Reflect.construct(target, args, newTarget) as ArrayBufferView;
        if (typeof args[0] === 'number') bytes += made.byteLength - args[0];
        else if (!(args[0] instanceof (originals[0] as typeof ArrayBuffer))) bytes += made.byteLength;
        return made;
      },
    });
  }
  try {
    await work();
  } finally {
    NAMES.forEach((name, i) => (scope[name] = originals[i]));
  }
  return bytes;
}
