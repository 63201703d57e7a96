// What a hub refuses, in words that say what to do. The header `x-error-code` tells apart what shares a status: a hub
// answers 401 both for a repository that does not exist and for one that must not be seen.
import { PithError } from '@pith/tensor-core';

/** What was asked for, for messages. */
export interface HubRequest {
  /** Opens the message: `open org/name`. */
  readonly operation: string;
  /** `org/name`, where the request is about a repository. */
  readonly id?: string;
  /** Address of the hub, without a slash at the end. */
  readonly endpoint: string;
  /** True when a token was sent. */
  readonly authorized: boolean;
}

/** Longest text of a hub that is repeated in a message. */
const TEXT_LIMIT = 200;

/**
 * The error for a response that is no success: `HUB_GATED`, `HUB_UNAUTHORIZED`, `HUB_FORBIDDEN`, `HUB_REVISION_MISSING`,
 * `HUB_FILE_MISSING`, `HUB_NOT_FOUND`, `HUB_RATE_LIMITED`, `HUB_UNAVAILABLE`, `HUB_REFUSED`.
 *
 * @param said what the hub said in the body, where that is short text.
 */
export function hubStatusError(request: HubRequest, response: Response, said?: string): PithError {
  const { status, headers } = response;
  const errorCode = headers.get('x-error-code') ?? undefined;
  const text = clean(headers.get('x-error-message') ?? said);
  const { code, message } = explain(request, status, errorCode, text);
  return new PithError(code, `${request.operation}: ${message}`, {
    details: {
      status,
      url: plainUrl(response.url),
      ...(request.id !== undefined && { id: request.id }),
      ...(errorCode !== undefined && { errorCode: clean(errorCode) }),
      ...(text !== undefined && { said: text }),
    },
  });
}

function explain(request: HubRequest, status: number, errorCode: string | undefined, text: string | undefined) {
  const { authorized, endpoint, id } = request;
  const page = id === undefined ? endpoint : `${endpoint}/${id}`;
  const said = text === undefined ? '' : ` ("${text}")`;
  if (errorCode === 'GatedRepo' && (status === 401 || status === 403)) {
    return {
      code: 'HUB_GATED',
      message:
        `the model is gated${said}; accept its terms at ${page}, ` +
        (authorized
          ? 'with the account that the token belongs to, and run again'
          : 'then put a token of that account in HF_TOKEN, or log in with "hf auth login"'),
    };
  }
  if (status === 401) {
    return {
      code: 'HUB_UNAUTHORIZED',
      message: authorized
        ? `the hub does not accept the token${said}, or the repository does not exist; check the name and HF_TOKEN (or the token file)`
        : `there is no such public repository at ${endpoint}${said}; check the name, or put a token in HF_TOKEN if it is private`,
    };
  }
  if (status === 403) {
    return {
      code: 'HUB_FORBIDDEN',
      message: `${authorized ? 'the token does not allow it' : 'it is not allowed without a token'}${said}; use a token with the right to do it in HF_TOKEN`,
    };
  }
  if (status === 404 && errorCode === 'RevisionNotFound') {
    return { code: 'HUB_REVISION_MISSING', message: `the repository has no such revision${said}; see ${page}` };
  }
  if (status === 404 && errorCode === 'EntryNotFound') {
    return { code: 'HUB_FILE_MISSING', message: `the repository has no such file${said}; see ${page}/tree/main` };
  }
  if (status === 404) {
    return {
      code: 'HUB_NOT_FOUND',
      message: `there is no such repository at ${endpoint}${said}; check the name${authorized ? '' : ', or put a token in HF_TOKEN if it is private'}`,
    };
  }
  if (status === 429) {
    return {
      code: 'HUB_RATE_LIMITED',
      message: `the hub takes no more requests for now${said}; wait a few minutes and run again${authorized ? '' : ', or put a token in HF_TOKEN for higher limits'}`,
    };
  }
  if (status >= 500)
    return { code: 'HUB_UNAVAILABLE', message: `the hub answered ${status}${said}; run again later to go on` };
  return { code: 'HUB_REFUSED', message: `the hub answered ${status}${said}; see ${page}` };
}

/** The hub cannot be reached, or hangs up again and again. */
export function hubUnreachable({ operation, endpoint, id }: HubRequest, url: string, cause: unknown): PithError {
  const reason = reasonOf(cause);
  return new PithError(
    'HUB_UNREACHABLE',
    `${operation}: ${hostOf(url) ?? endpoint} must answer, it does not (${reason}); check the network and HF_ENDPOINT, ` +
      'then run again to go on; with HF_HUB_OFFLINE=1 only what is in the cache is used',
    { details: { url: plainUrl(url), reason, ...(id !== undefined && { id }) }, cause },
  );
}

/** The code or text of a failed request: `fetch` hides it in its cause. */
export function reasonOf(error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
    if (!(at.cause instanceof Error)) return clean(at.message) ?? at.name;
  }
  return clean(String(error)) ?? 'unknown';
}

/** A URL without its query, which may hold a signature that gives access. */
export function plainUrl(url: string): string {
  return url.replace(/[?#].*$/s, '').replace(/\/\/[^/@]*@/, '//');
}

function hostOf(url: string): string | undefined {
  try {
    return new URL(url).host;
  } catch {
    return undefined;
  }
}

/** Text of a stranger on one line, without control characters. */
function clean(text: string | undefined): string | undefined {
  const plain = text?.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return plain ? plain.slice(0, TEXT_LIMIT) : undefined;
}
