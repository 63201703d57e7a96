// Runs a command as a whole process: wall time, CPU time and the peak of its resident memory.
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<{ seconds: number, cpuSeconds: number | null, peakBytes: number | null, status: number | null, stdout: string, stderr: string }>}
 * `peakBytes` is the high-water mark that Linux keeps (VmHWM), `cpuSeconds` the processor time of all its threads, both sampled until the
 * process ends; null elsewhere.
 */
export function measure(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let stdout = '';
    let stderr = '';
    let peakBytes = null;
    let cpuSeconds = null;
    child.stdout.on('data', (chunk) => (stdout += chunk));
    child.stderr.on('data', (chunk) => (stderr += chunk));
    const timer = setInterval(() => {
      try {
        const kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
        if (kib !== undefined) peakBytes = Number(kib) * 1024;
        // After the name in parentheses, fields 14 and 15 of stat: user and system time in hundredths of a second.
        const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ');
        const ticks = Number(fields?.[11]) + Number(fields?.[12]);
        if (ticks > 0) cpuSeconds = ticks / 100;
      } catch {
        // Gone between two samples, or not Linux.
      }
    }, 10);
    child.on('error', reject);
    child.on('close', (status) => {
      clearInterval(timer);
      resolve({ seconds: (performance.now() - start) / 1000, cpuSeconds, peakBytes, status, stdout, stderr });
    });
  });
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The machine, in words that name nobody. */
export function machine() {
  const [cpu] = os.cpus();
  return {
    cpu: cpu?.model.trim() ?? 'unknown',
    cores: os.cpus().length,
    memoryGB: Math.floor(os.totalmem() / 1e9),
    platform: `${os.platform()} ${os.arch()}`,
    node: process.versions.node,
    load: os.loadavg()[0],
  };
}

/** Makes the system forget what it has read of files; false where that is not allowed (it takes root, on Linux). */
export function dropPageCache() {
  try {
    execFileSync('sync');
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}
