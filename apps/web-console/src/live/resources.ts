/** The cluster's resources as the controller has them now, by one watch; every page reads from here. */
import { useSyncExternalStore } from "react";
import { NO_RESOURCES, type Resources, ResourceTable } from "./resource-table.js";
import { controller } from "./session.js";
import { keepOpen } from "./streams.js";

let table = new ResourceTable();
let shown: Resources = NO_RESOURCES;
const listeners = new Set<() => void>();
let stop: (() => void) | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  stop ??= keepOpen({
    name: "resources",
    // The controller gives a sign of life every 10 s.
    silenceMs: 30_000,
    open: (signal) => controller.cluster.watchResources({}, { signal }),
    onOpen: () => {
      table = new ResourceTable();
    },
    onMessage: ({ changes }) => {
      // The first answer without changes ends what exists already; until then what was known before is shown.
      const isComplete = table.current.isComplete || changes.length === 0;
      table.apply(changes, isComplete);
      if (!isComplete) return;
      shown = table.current;
      for (const each of listeners) each();
    },
  });
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    stop?.();
    stop = undefined;
  };
}

export function useResources(): Resources {
  return useSyncExternalStore(subscribe, () => shown);
}
