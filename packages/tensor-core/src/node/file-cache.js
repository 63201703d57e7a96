// Open files of one thread, by path and mode, so that a job does not pay for opening. Plain JavaScript because the
// worker entry imports it before any build.
import { closeSync, openSync } from 'node:fs';

/** Most files that one thread keeps open; the one used longest ago is closed first. */
export const MAX_OPEN_FILES = 64;

export class FileCache {
  /** @type {Map<string, number>} */
  #open = new Map();

  /**
   * The descriptor of a file, opened when it is not open yet.
   * @param {string} path
   * @param {'r' | 'r+'} flags
   * @returns {number}
   */
  descriptor(path, flags) {
    const key = `${flags} ${path}`;
    const known = this.#open.get(key);
    if (known !== undefined) {
      this.#open.delete(key); // to the end of the order: used last
      this.#open.set(key, known);
      return known;
    }
    for (const [oldest, descriptor] of this.#open) {
      if (this.#open.size < MAX_OPEN_FILES) break;
      this.#open.delete(oldest);
      closeSync(descriptor);
    }
    const opened = openSync(path, flags);
    this.#open.set(key, opened);
    return opened;
  }

  /** Closes every file, also when closing one throws; the first error is thrown at the end. */
  closeAll() {
    /** @type {unknown[]} */
    const errors = [];
    for (const descriptor of this.#open.values()) {
      try {
        closeSync(descriptor);
      } catch (error) {
        errors.push(error);
      }
    }
    this.#open.clear();
    if (errors.length > 0) throw errors[0];
  }
}
