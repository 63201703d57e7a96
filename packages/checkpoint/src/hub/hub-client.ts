// Requests to a hub: the token where it belongs and nowhere else, patience with a busy server, caps on what is read,
// and every refusal as a PithError. The `fetch` made here is what the functions of `@huggingface/hub` are given.
//
// A token goes to the origin of the endpoint alone. Files are served by redirects to other hosts, by URLs that carry
// their own signature; `fetch` drops the header `authorization` when a redirect leaves the origin
// (https://fetch.spec.whatwg.org/#http-redirect-fetch, step 13), and what asks another origin at first hand gets none.
import { isPithError, PithError, throwIfStopped } from '@pith/tensor-core';
import { hubStatusError, hubUnreachable, plainUrl, type HubRequest } from './hub-errors.ts';

/** The public hub. */
export const DEFAULT_ENDPOINT = 'https://huggingface.co';

/** How a hub is reached. */
export interface HubClientOptions {
  /** Address of the hub; {@link DEFAULT_ENDPOINT} when left out. */
  readonly endpoint?: string;
  /** Access token. It is sent to the endpoint alone. */
  readonly token?: string;
  /** Stops requests under way. */
  readonly signal?: AbortSignal;
  /** Tries of a request that failed in a way that may pass; 5 when left out. */
  readonly attempts?: number;
  /** Wait before the second try in milliseconds, doubled at each further one; 1000 when left out. */
  readonly waitMs?: number;
}

/** Requests to one hub. */
export interface HubClient {
  /** Address of the hub, without a slash at the end. */
  readonly endpoint: string;
  /** True when requests carry a token. */
  readonly authorized: boolean;
  /** Tries of a request. */
  readonly attempts: number;
  /** Stops requests under way. */
  readonly signal?: AbortSignal;
  /**
   * `fetch` in the name of an operation: throws where the hub refuses, so that only successes are returned.
   *
   * @param what opens messages and names the repository.
   */
  fetch(what: { readonly operation: string; readonly id?: string }): typeof fetch;
  /** Waits before the next try; `attempt` counts from 1. */
  pause(attempt: number, operation: string): Promise<void>;
}

/** Most bytes of one answer of the API; a page of a listing has a thousand files. */
const MAX_ANSWER_BYTES = 64 * 2 ** 20;
/** Longest wait that a server may ask for with `retry-after`. */
const MAX_WAIT_SECONDS = 300;
/** Refusals that may pass by themselves. */
const PASSING = new Set([408, 429, 500, 502, 503, 504]);

/**
 * Requests to a hub.
 *
 * @throws PithError `HUB_ENDPOINT_INVALID`, `HUB_TOKEN_INVALID`.
 */
export function createHubClient(options: HubClientOptions = {}): HubClient {
  const { token, signal, attempts = 5, waitMs = 1000 } = options;
  const endpoint = checkEndpoint(options.endpoint ?? DEFAULT_ENDPOINT);
  const { origin } = new URL(endpoint);
  // A header takes visible ASCII only; a token file saved by an editor may hold more.
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new PithError(
      'HUB_TOKEN_INVALID',
      'open hub: a token must be letters, digits and signs without spaces, HF_TOKEN (or the token file) holds something ' +
        'else; copy it again',
    );
  }

  const send = async (request: HubRequest, input: Parameters<typeof fetch>[0], init: RequestInit | undefined) => {
    const url = input instanceof Request ? input.url : String(input);
    const headers = new Headers(init?.headers);
    headers.set('user-agent', 'pith');
    headers.delete('authorization');
    if (token !== undefined && originOf(url) === origin) headers.set('authorization', `Bearer ${token}`);
    const stop = init?.signal ?? signal;
    try {
      return await fetch(url, { ...init, headers, ...(stop && { signal: stop }) });
    } catch (cause) {
      throwIfStopped(signal, request.operation);
      if (init?.signal?.aborted) throw cause;
      throw hubUnreachable(request, url, cause);
    }
  };

  const pause = async (attempt: number, operation: string): Promise<void> => {
    await sleep(waitMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2), signal);
    throwIfStopped(signal, operation);
  };

  return {
    endpoint,
    authorized: token !== undefined,
    attempts,
    ...(signal && { signal }),
    pause,
    fetch: ({ operation, id }) => {
      const request: HubRequest = { operation, endpoint, authorized: token !== undefined, ...(id && { id }) };
      return async (input, init) => {
        const repeatable = ['GET', 'HEAD', 'PUT'].includes(init?.method ?? 'GET');
        for (let attempt = 1; ; attempt++) {
          throwIfStopped(signal, operation);
          const last = attempt >= attempts;
          let response: Response;
          try {
            response = await send(request, input, init);
          } catch (error) {
            if (last || !repeatable || !isPithError(error) || error.code !== 'HUB_UNREACHABLE') throw error;
            await pause(attempt, operation);
            continue;
          }
          if (response.ok) return isAnswer(response) ? capped(response, operation) : response;
          const mayPass = repeatable ? PASSING.has(response.status) : response.status === 429;
          if (last || !mayPass) {
            throw hubStatusError(request, response, await saidBy(response, operation));
          }
          const asked = retryAfter(response.headers.get('retry-after'));
          await response.body?.cancel().catch(() => undefined);
          if (asked === undefined) await pause(attempt, operation);
          else await sleep(asked * 1000, signal);
        }
      };
    },
  };
}

function checkEndpoint(text: string): string {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // Told below.
  }
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new PithError(
      'HUB_ENDPOINT_INVALID',
      `open hub: an endpoint must be an address such as ${DEFAULT_ENDPOINT}, got ${JSON.stringify(text)}; correct HF_ENDPOINT`,
      { details: { endpoint: text } },
    );
  }
  return text.replace(/\/+$/, '');
}

function originOf(url: string): string | undefined {
  try {
    return new URL(url).origin;
  } catch {
    return undefined;
  }
}

/** Seconds of a `retry-after` header, which holds seconds or a date. */
function retryAfter(text: string | null): number | undefined {
  if (text === null) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(MAX_WAIT_SECONDS, Math.max(0, seconds)) : undefined;
}

/** True for an answer in JSON, which is read into memory at once; bytes of files are streamed. */
function isAnswer(response: Response): boolean {
  return (
    /\bjson\b/.test(response.headers.get('content-type') ?? '') && new URL(response.url).pathname.includes('/api/')
  );
}

/** The same response with an end to its body. */
function capped(response: Response, operation: string): Response {
  if (response.body === null) return response;
  let bytes = 0;
  const limited = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.byteLength;
        if (bytes <= MAX_ANSWER_BYTES) controller.enqueue(chunk);
        else controller.error(tooLarge(operation, response.url));
      },
    }),
  );
  const { status, statusText, headers, url } = response;
  return Object.defineProperty(new Response(limited, { status, statusText, headers }), 'url', { value: url });
}

function tooLarge(operation: string, url: string): PithError {
  return new PithError(
    'HUB_ANSWER_TOO_LARGE',
    `${operation}: an answer of the hub may have at most ${MAX_ANSWER_BYTES} bytes, it has more; check HF_ENDPOINT`,
    { details: { url: plainUrl(url), limit: MAX_ANSWER_BYTES } },
  );
}

/** What a refusal says, where it is short JSON. */
async function saidBy(response: Response, operation: string): Promise<string | undefined> {
  try {
    const json: unknown = JSON.parse(await capped(response, operation).text());
    const { error, message } = (json ?? {}) as { error?: unknown; message?: unknown };
    return [error, message].find((text) => typeof text === 'string');
  } catch {
    return undefined;
  }
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
    if (signal?.aborted) done();
  });
}
