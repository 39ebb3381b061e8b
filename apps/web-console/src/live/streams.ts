/**
 * Streams that come back: each is reopened after it was lost, with growing pauses, and says in which state it is. One that
 * is silent for longer than its server ever is counts as lost. Streams rest while the page is hidden, since a browser
 * allows a host only six connections without TLS.
 */
import { SlimFastError } from "@slimfast/client/web";
import { useEffect, useRef, useSyncExternalStore } from "react";

export type StreamState = "connecting" | "live" | "behind" | "lost";

export interface StreamEntry {
  readonly name: string;
  readonly state: StreamState;
  readonly reason: string;
  /** Since when it is in this state. */
  readonly since: Date;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
/** How long a stream that has lost something is said to be behind. */
const BEHIND_MS = 10_000;
/** A page whose timers are later than this was busy or asleep itself: what came meanwhile has still to be read, */
const LATE_MS = 1_000;
/** for which it gets so long. */
const CATCH_UP_MS = 2_000;

const entries = new Map<string, StreamEntry>();
const behindUntil = new Map<string, number>();
const listeners = new Set<() => void>();
/** Cuts the pauses short. */
const waiting = new Set<() => void>();
let snapshot: readonly StreamEntry[] = [];

function report(name: string, state: StreamState | null, reason = ""): void {
  const old = entries.get(name);
  if (state === "live" && old?.state === "behind" && Date.now() < (behindUntil.get(name) ?? 0)) return;
  if (state === null ? !old : old?.state === state && old.reason === reason) return;
  if (state === null) entries.delete(name);
  else entries.set(name, { name, state, reason, since: old?.state === state ? old.since : new Date() });
  snapshot = [...entries.values()];
  for (const listener of listeners) listener();
}

/** Something of the stream was lost; it goes on. */
export function reportBehind(name: string, reason: string): void {
  behindUntil.set(name, Date.now() + BEHIND_MS);
  report(name, "behind", reason);
}

/** Tries all lost streams at once. */
export function retryNow(): void {
  for (const wake of [...waiting]) wake();
}

export function streamStates(): readonly StreamEntry[] {
  return snapshot;
}

export function useStreamStates(): readonly StreamEntry[] {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, streamStates);
}

export interface StreamOptions<Message> {
  /** Shown when it is lost. */
  readonly name: string;
  /** Called anew after each loss. */
  readonly open: (signal: AbortSignal) => AsyncIterable<Message>;
  readonly onMessage: (message: Message) => void;
  /** Before each opening. */
  readonly onOpen?: () => void;
  /** It is lost if nothing comes for this long. */
  readonly silenceMs: number;
  /** Default: yes. */
  readonly restsWhenHidden?: boolean;
}

/** Failures that would come again. */
const HOPELESS: readonly string[] = ["invalid_argument", "permission_denied"];

/** Keeps one stream open until the returned function is called. */
export function keepOpen<Message>(options: StreamOptions<Message>): () => void {
  const { name, restsWhenHidden = true } = options;
  const end = new AbortController();
  let running = new AbortController();
  const onVisibility = (): void => {
    if (document.hidden && restsWhenHidden) running.abort();
  };
  document.addEventListener("visibilitychange", onVisibility);
  end.signal.addEventListener("abort", () => running.abort());
  void (async () => {
    let failures = 0;
    while (!end.signal.aborted) {
      if (document.hidden && restsWhenHidden) await visible(end.signal);
      if (end.signal.aborted) break;
      running = new AbortController();
      if (failures === 0) report(name, "connecting");
      const outcome = await runOnce(options, running, end.signal, () => {
        failures = 0;
      });
      if (end.signal.aborted) break;
      // It was laid to rest, and is opened when the page is looked at again.
      if (outcome === "resting") continue;
      failures += 1;
      report(name, "lost", outcome.reason);
      if (outcome.code === "unauthenticated") {
        location.reload();
        break;
      }
      if (HOPELESS.includes(outcome.code)) return;
      await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1)), end.signal);
    }
    report(name, null);
  })();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    end.abort();
    report(name, null);
  };
}

interface Loss {
  readonly code: string;
  readonly reason: string;
}

/** One opening, to its end. */
async function runOnce<Message>(
  { name, open, onMessage, onOpen, silenceMs }: StreamOptions<Message>,
  running: AbortController,
  end: AbortSignal,
  onLife: () => void,
): Promise<Loss | "resting"> {
  let isSilent = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expectWithin = (ms: number): void => {
    const dueMs = performance.now() + ms;
    timer = setTimeout(() => {
      if (performance.now() - dueMs > LATE_MS) return expectWithin(CATCH_UP_MS);
      isSilent = true;
      running.abort();
    }, ms);
  };
  expectWithin(silenceMs);
  try {
    onOpen?.();
    for await (const message of open(running.signal)) {
      clearTimeout(timer);
      if (end.aborted) return "resting";
      expectWithin(silenceMs);
      onLife();
      report(name, "live");
      onMessage(message);
    }
    if (running.signal.aborted && !isSilent) return "resting";
    return { code: "", reason: isSilent ? SILENT : "the controller ended it" };
  } catch (error) {
    if (running.signal.aborted && !isSilent) return "resting";
    if (isSilent) return { code: "", reason: SILENT };
    return {
      code: error instanceof SlimFastError ? error.code : "",
      reason: error instanceof Error ? error.message : String(error),
    };
  } finally {
    clearTimeout(timer);
    // Of all that was opened, also what is read no more: a browser has few connections for one host.
    running.abort();
  }
}

const SILENT = "the controller was silent for too long";

/** As long as the component is shown and `key` stays the same. */
export function useStream<Message>(key: string, options: StreamOptions<Message>): void {
  const latest = useRef(options);
  latest.current = options;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the stream is another one when its key is
  useEffect(
    () =>
      keepOpen<Message>({
        ...latest.current,
        open: (signal) => latest.current.open(signal),
        onMessage: (message) => latest.current.onMessage(message),
      }),
    [options.name, key],
  );
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      waiting.delete(done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    waiting.add(done);
    signal.addEventListener("abort", done);
  });
}

function visible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
  });
}
