/**
 * Says in the store that this controller is there, and where. The document ends with the controller; if it was taken for
 * gone while the store was out of reach, it is written again.
 */
import type { Logger } from "pino";
import { PRESENCE_RETRY_MS } from "../limits.js";
import type { Store } from "../store/store.js";

export interface Membership {
  close(): Promise<void>;
}

export function joinControllers(
  store: Store,
  log: Logger,
  self: { readonly addresses: readonly string[]; readonly version: string },
): Membership {
  const startTimeMs = Date.now();
  let retry: NodeJS.Timeout | undefined;
  let isClosed = false;
  const write = async (): Promise<void> => {
    try {
      await store.transaction((tx) => tx.put("controller", { id: store.controllerId, ...self, startTimeMs }));
    } catch (error) {
      if (isClosed) return;
      log.warn({ err: error }, "this controller is not known to the others yet");
      retry = setTimeout(() => void write(), PRESENCE_RETRY_MS);
      retry.unref();
    }
  };
  const stop = store.onCommit(({ changes }) => {
    const isGone = changes.some(
      ({ kind, key, after }) => kind === "controller" && key === store.controllerId && !after,
    );
    if (isGone) void write();
  });
  void write();
  return {
    async close() {
      isClosed = true;
      clearTimeout(retry);
      stop();
      await store.transaction((tx) => tx.delete("controller", store.controllerId)).catch(() => {});
    },
  };
}
