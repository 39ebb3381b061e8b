/**
 * Streams that come back: each is reopened after it was lost, with growing pauses, and says in which state it is. Streams
 * rest while the page is hidden, since a browser allows a host only six connections without TLS.
 */
import { SlimFastError } from "@slimfast/client/web";
import { useEffect, useRef, useSyncExternalStore } from "react";

export type StreamState = "connecting" | "live" | "behind" | "lost";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;

interface Entry {
  readonly state: StreamState;
  readonly reason: string;
}

const entries = new Map<string, Entry>();
const listeners = new Set<() => void>();
let snapshot: readonly (Entry & { readonly name: string })[] = [];

export function report(name: string, state: StreamState | null, reason = ""): void {
  const old = entries.get(name);
  if (old?.state === state && old?.reason === reason) return;
  if (state === null) entries.delete(name);
  else entries.set(name, { state, reason });
  snapshot = [...entries].map(([key, entry]) => ({ name: key, ...entry }));
  for (const listener of listeners) listener();
}

export function useStreamStates() {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    () => snapshot,
  );
}

/** Keeps one stream open until the returned function is called. `open` is called anew after each loss. */
export function keepOpen<Message>(
  name: string,
  open: (signal: AbortSignal) => AsyncIterable<Message>,
  onMessage: (message: Message) => void,
  onOpen: () => void = () => undefined,
  restsWhenHidden = true,
): () => void {
  const end = new AbortController();
  let running = new AbortController();
  const onVisible = (): void => {
    if (document.hidden && restsWhenHidden) running.abort();
  };
  document.addEventListener("visibilitychange", onVisible);
  end.signal.addEventListener("abort", () => running.abort());
  void (async () => {
    let failures = 0;
    while (!end.signal.aborted) {
      if (document.hidden && restsWhenHidden) await visible(end.signal);
      running = new AbortController();
      if (end.signal.aborted) break;
      report(name, failures > 0 ? "lost" : "connecting");
      try {
        onOpen();
        for await (const message of open(running.signal)) {
          failures = 0;
          if (end.signal.aborted) break;
          report(name, "live");
          onMessage(message);
        }
        failures += 1;
      } catch (error) {
        if (end.signal.aborted) break;
        if (running.signal.aborted) continue;
        failures += 1;
        report(name, "lost", error instanceof Error ? error.message : String(error));
        if (error instanceof SlimFastError && error.code === "unauthenticated") {
          location.reload();
          break;
        }
        if (error instanceof SlimFastError && ["invalid_argument", "permission_denied"].includes(error.code)) break;
      }
      if (!end.signal.aborted) report(name, "lost", "");
      await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1)), end.signal);
    }
    report(name, null);
  })();
  return () => {
    document.removeEventListener("visibilitychange", onVisible);
    end.abort();
    report(name, null);
  };
}

/** As long as the component is shown and `key` stays the same. */
export function useStream<Message>(
  name: string,
  key: string,
  open: (signal: AbortSignal) => AsyncIterable<Message>,
  onMessage: (message: Message) => void,
  restsWhenHidden = true,
): void {
  const latest = useRef({ open, onMessage });
  latest.current = { open, onMessage };
  // biome-ignore lint/correctness/useExhaustiveDependencies: the stream is another one when its key is
  useEffect(
    () =>
      keepOpen<Message>(
        name,
        (signal) => latest.current.open(signal),
        (message) => latest.current.onMessage(message),
        undefined,
        restsWhenHidden,
      ),
    [name, key],
  );
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
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
