/**
 * Streams that come back: what watches and tails have in common. Owns the decision which failures end a stream for good,
 * the pauses between attempts, and the watch over a server that has gone silent. What is asked for anew is the caller's.
 */
import { SlimFastError } from "./errors.js";
import { abortError, pause } from "./pause.js";

export interface ResumeOptions {
  /** Ends it with a `cancelled` error. */
  readonly signal?: AbortSignal | undefined;
  /** Longest pause before the first attempt after a failure; it doubles with each. */
  readonly initialBackoffMs: number;
  readonly maxBackoffMs: number;
  /** After so long without an answer the stream counts as lost. `Infinity` for streams that may be silent. */
  readonly silenceMs: number;
}

/** An answer of the stream, or that it was lost and is going to be opened again. */
export type Resumed<Answer> =
  | { readonly type: "answer"; readonly answer: Answer }
  | { readonly type: "interrupted"; readonly error: SlimFastError };

/** What the caller makes of a failure; `undefined` leaves the decision to this module. */
export type FailureJudge = (error: SlimFastError) => "resume" | undefined;

/** Failures that another attempt may not meet again. */
const PASSING = new Set(["unavailable", "deadline_exceeded", "aborted", "resource_exhausted", "internal", "unknown"]);

/**
 * Opens a stream, and opens it again when it ends or fails. Never ends by itself.
 *
 * @param open Called for every attempt, with a signal that ends the attempt.
 * @throws SlimFastError `cancelled`, or a failure that would come again.
 */
export async function* resuming<Answer>(
  open: (signal: AbortSignal) => AsyncIterable<Answer>,
  options: ResumeOptions,
  judge: FailureJudge = () => undefined,
): AsyncGenerator<Resumed<Answer>> {
  for (let failures = 0; ; ) {
    let error: SlimFastError;
    try {
      for await (const answer of attempt(open, options)) {
        failures = 0;
        yield { type: "answer", answer };
      }
      error = new SlimFastError("unavailable", "the server has ended the stream");
    } catch (thrown) {
      if (!(thrown instanceof SlimFastError)) throw thrown;
      error = thrown;
    }
    if (options.signal?.aborted) throw cancelled();
    if (judge(error) !== "resume" && !PASSING.has(error.code)) throw error;
    yield { type: "interrupted", error };
    const longestMs = Math.min(options.maxBackoffMs, options.initialBackoffMs * 2 ** failures);
    failures += 1;
    try {
      await pause(longestMs * (0.5 + Math.random() / 2), options.signal);
    } catch {
      throw cancelled();
    }
  }
}

async function* attempt<Answer>(
  open: (signal: AbortSignal) => AsyncIterable<Answer>,
  { signal, silenceMs }: ResumeOptions,
): AsyncGenerator<Answer> {
  const ending = new AbortController();
  const end = () => ending.abort();
  let isSilent = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const listen = () => {
    clearTimeout(timer);
    if (silenceMs === Number.POSITIVE_INFINITY) return;
    timer = setTimeout(() => {
      isSilent = true;
      end();
    }, silenceMs);
  };
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  try {
    listen();
    for await (const answer of open(ending.signal)) {
      // While the caller is busy with an answer, silence is not the server's.
      clearTimeout(timer);
      yield answer;
      listen();
    }
  } catch (error) {
    if (!isSilent) throw error;
    throw new SlimFastError("unavailable", `no sign of life from the server for ${silenceMs} ms`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
    // A caller that stops early leaves nothing open.
    end();
  }
}

function cancelled(): SlimFastError {
  return new SlimFastError("cancelled", "the call was cancelled", { cause: abortError() });
}
