// Where the command line writes. Results go to stdout, everything else to stderr; colours only on a terminal.
import { styleText } from 'node:util';

/** A text style that the command line uses. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** A stream that the command line writes to. */
export interface TextStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** The streams of a process and what they can show. */
export interface Terminal {
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  /** Styles text for a stream, if it shows styles. */
  paint(stream: TextStream, style: Style, text: string): string;
}

/** True where styles are shown: on a terminal, unless NO_COLOR is set to something (https://no-color.org). */
export function showsColour(stream: TextStream, environment: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb';
}

/** The terminal of a process. */
export function createTerminal(stdout: TextStream, stderr: TextStream, environment: NodeJS.ProcessEnv): Terminal {
  return {
    stdout,
    stderr,
    paint: (stream, style, text) =>
      showsColour(stream, environment) ? styleText(style, text, { validateStream: false }) : text,
  };
}
