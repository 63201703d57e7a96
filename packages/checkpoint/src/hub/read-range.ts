// A run of bytes of a remote file, from start to end however often the connection is cut. What the server says of
// lengths and places is held against what was asked for: a body from the wrong place would be taken for data.
import { isPithError, PithError, throwIfStopped } from '@pith/tensor-core';
import type { HubClient } from './hub-client.ts';
import { hubUnreachable, plainUrl } from './hub-errors.ts';

/** What is read. */
export interface RangeRequest {
  readonly url: string;
  /** Opens messages: `download org/name/model.safetensors`. */
  readonly operation: string;
  /** `org/name`. */
  readonly id: string;
  /** First byte. */
  readonly start: number;
  /** One past the last byte. */
  readonly end: number;
  /** Bytes of the whole file, as the listing has it. */
  readonly total: number;
  /** What to do where the server knows no ranges: read over what is not wanted, or refuse. */
  readonly withoutRanges: 'skip' | 'refuse';
}

/**
 * Reads the bytes in order and hands them to `take`, each once; after a cut it goes on from the byte it had come to.
 * It gives up after as many tries in a row that brought nothing as the client allows.
 *
 * @throws PithError those of {@link HubClient.fetch}; `HUB_LENGTH_WRONG` where the file is longer or shorter than listed,
 * `HUB_NO_RANGES`; what `take` throws.
 */
export async function readRange(
  client: HubClient,
  request: RangeRequest,
  take: (bytes: Uint8Array) => void | Promise<void>,
): Promise<void> {
  const { url, operation, id, end } = request;
  const send = client.fetch({ operation, id });
  let at = request.start;
  let fruitless = 0;
  while (at < end) {
    throwIfStopped(client.signal, operation);
    const before = at;
    const whole = at === 0 && end === request.total;
    const response = await send(url, {
      headers: { 'accept-encoding': 'identity', ...(!whole && { range: `bytes=${at}-${end - 1}` }) },
    });
    let skip = await startOf(response, request, at);
    let fault: unknown;
    const reader = response.body?.getReader();
    try {
      while (at < end) {
        const { done, value } = (await reader?.read()) ?? { done: true };
        if (done || value === undefined) break;
        if (skip >= value.byteLength) {
          skip -= value.byteLength;
          continue;
        }
        const wanted = value.subarray(skip, Math.min(value.byteLength, skip + end - at));
        if (skip + wanted.byteLength < value.byteLength && end === request.total) {
          throw wrongLength(request, `at least ${at + value.byteLength - skip}`);
        }
        skip = 0;
        await take(wanted);
        at += wanted.byteLength;
      }
    } catch (error) {
      if (isPithError(error) || client.signal?.aborted) {
        throwIfStopped(client.signal, operation);
        throw error;
      }
      if (isSystemError(error)) throw error;
      fault = error;
    } finally {
      await reader?.cancel().catch(() => undefined);
    }
    if (at >= end) return;
    fruitless = at > before ? 1 : fruitless + 1;
    if (fruitless >= client.attempts) {
      throw hubUnreachable(
        { operation, id, endpoint: client.endpoint, authorized: client.authorized },
        url,
        fault ?? 'it hung up',
      );
    }
    await client.pause(fruitless, operation);
  }
}

/** Bytes of the body that lie before `at`, after the headers have been checked. */
async function startOf(response: Response, request: RangeRequest, at: number): Promise<number> {
  const { end, total } = request;
  const refuse = async (error: PithError): Promise<never> => {
    await response.body?.cancel().catch(() => undefined);
    throw error;
  };
  const length = response.headers.get('content-length');
  if (response.status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
    if (range?.[3] !== undefined && range[3] !== '*' && Number(range[3]) !== total) {
      return refuse(wrongLength(request, range[3]));
    }
    if (range === null || Number(range[1]) !== at || Number(range[2]) !== end - 1) {
      return refuse(wrongPlace(request, at, response.headers.get('content-range')));
    }
    return 0;
  }
  if (length !== null && Number(length) !== total) return refuse(wrongLength(request, length));
  if (at === 0 && end === total) return 0;
  if (request.withoutRanges === 'skip') return at;
  return refuse(
    new PithError(
      'HUB_NO_RANGES',
      `${request.operation}: the server must answer requests for a part of a file, it sends all of it; download the model ` +
        'and name its directory, or use another HF_ENDPOINT',
      { details: { id: request.id, url: plainUrl(request.url) } },
    ),
  );
}

function wrongLength(request: RangeRequest, got: string): PithError {
  return new PithError(
    'HUB_LENGTH_WRONG',
    `${request.operation}: the file must have ${request.total} bytes as the listing says, the server sends ${got}; ` +
      'check HF_ENDPOINT, or try again later',
    { details: { id: request.id, url: plainUrl(request.url), expected: request.total, got } },
  );
}

function wrongPlace(request: RangeRequest, at: number, got: string | null): PithError {
  return new PithError(
    'HUB_LENGTH_WRONG',
    `${request.operation}: the server must send bytes ${at} to ${request.end - 1}, it sends ` +
      `${got === null ? 'a part without saying which' : JSON.stringify(got.slice(0, 80))}; check HF_ENDPOINT, or try again later`,
    { details: { id: request.id, url: plainUrl(request.url), start: at, end: request.end } },
  );
}

/** A fault of the local disk, which no further request mends. `fetch` reports its own as a TypeError. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && !(error instanceof TypeError);
}
