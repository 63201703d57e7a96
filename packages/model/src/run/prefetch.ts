/**
 * Hands out two sets of buffers in turn: what is loaded into one is used while the other is filled. With one item in
 * memory at a time there is one set.
 */
export function alternate<B>(make: () => B, ahead: boolean): () => B {
  const sets = ahead ? [make(), make()] : [make()];
  let turn = 0;
  return () => sets[turn++ % sets.length];
}

/**
 * Loads items one after the other, the next one while the current one is used.
 *
 * @param ahead False loads an item only when it is asked for: one item in memory instead of two.
 */
export async function* prefetch<T, R>(
  items: Iterable<T>,
  load: (item: T) => Promise<R>,
  ahead: boolean,
): AsyncGenerator<readonly [T, R], void, undefined> {
  let pending: { item: T; loading: Promise<R> } | undefined;
  const start = (item: T) => {
    const loading = load(item);
    // A failure is thrown where the item is awaited; until then it must not count as unhandled.
    loading.catch(() => undefined);
    return { item, loading };
  };
  try {
    for (const item of items) {
      if (!ahead) {
        yield [item, await load(item)];
        continue;
      }
      const current = pending;
      if (current === undefined) {
        pending = start(item);
        continue;
      }
      const loaded = await current.loading;
      pending = start(item);
      yield [current.item, loaded];
    }
    if (pending !== undefined) {
      const last = pending;
      yield [last.item, await last.loading];
    }
  } finally {
    // Whoever stops early must not leave a read running behind.
    await pending?.loading.catch(() => undefined);
  }
}
