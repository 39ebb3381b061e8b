/** Waiting for what happens in the background, in tests. */
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 5;

/** Repeats a check until it does not throw. The time is for a machine that is busy: only a failing test takes it. */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 20_000): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() >= deadlineMs) throw error;
    }
    await sleep(POLL_MS);
  }
}
