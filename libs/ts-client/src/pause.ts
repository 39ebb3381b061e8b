/** A pause that a signal can end; in browsers too, which have no node:timers. */

/** @throws The signal's reason as an `AbortError` if it is aborted before or meanwhile. */
export function pause(durationMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = () => {
      clearTimeout(timer);
      reject(abortError());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", refuse);
      resolve();
    }, durationMs);
    if (signal?.aborted) refuse();
    else signal?.addEventListener("abort", refuse, { once: true });
  });
}

/** What the platform throws when a signal ends something. */
export function abortError(): Error {
  const error = new Error("the operation was aborted");
  error.name = "AbortError";
  return error;
}
