/** The tail of connections as a page shows it: a few times in a second, however fast events come. */
import type { ConnectionRecord } from "@slimfast/proto";
import { useEffect, useRef, useState } from "react";
import { controller } from "./session.js";
import { reportBehind, useStream } from "./streams.js";
import { ConnectionTable } from "./tail.js";

/** How often the page shows what has come; each time costs a render. */
const SHOW_MS = 200;
const PAGE_SIZE = 1_000;
/** Of what there is already when the page opens. */
const MAX_LISTED = 5_000;
const NAME = "connections";
/** For one page of the list, on a controller that has much to do: as long as a stream may be silent. */
const PAGE_MS = 30_000;

export interface ShownConnections {
  readonly rows: readonly ConnectionRecord[];
  /** Whether the list of what was there already has come. */
  readonly isLoaded: boolean;
  /** Events that the controller or an agent had to drop. */
  readonly dropped: bigint;
  /** Events that have come since the page was held. */
  readonly waiting: number;
}

interface Listing {
  readonly connections: ConnectionRecord[];
  readonly isWhole: boolean;
}

/** Yields when a page has come, and returns them all. */
async function* list(includeClosed: boolean, signal: AbortSignal): AsyncGenerator<void, Listing, undefined> {
  const connections: ConnectionRecord[] = [];
  let pageToken = "";
  do {
    const page = await controller.operations.listConnectionRecords(
      { pageSize: PAGE_SIZE, pageToken, includeClosed },
      { signal, deadline: PAGE_MS },
    );
    connections.push(...page.connections);
    pageToken = page.nextPageToken;
    yield;
  } while (pageToken !== "" && connections.length < MAX_LISTED);
  return { connections, isWhole: pageToken === "" };
}

async function toItsEnd<Result>(steps: AsyncGenerator<void, Result, undefined>): Promise<Result> {
  for (;;) {
    const step = await steps.next();
    if (step.done) return step.value;
  }
}

/** @param isHeld Whether what is shown stays as it is; what comes is taken all the same. */
export function useConnections(isHeld: boolean): [ShownConnections, (id: string) => ConnectionRecord | undefined] {
  const table = useRef(new ConnectionTable());
  const dropped = useRef(0n);
  const heldAt = useRef(0);
  const isLoaded = useRef(false);
  const isRelisting = useRef(false);
  const [shown, setShown] = useState<ShownConnections>({ rows: [], isLoaded: false, dropped: 0n, waiting: 0 });

  const relist = async (nodes: readonly string[], signal: AbortSignal): Promise<void> => {
    if (isRelisting.current) return;
    isRelisting.current = true;
    try {
      const before = table.current.liveAt(nodes);
      const { connections, isWhole } = await toItsEnd(list(false, signal));
      table.current.reconcile(connections, isWhole ? before : []);
    } finally {
      isRelisting.current = false;
    }
  };

  useStream("", {
    name: NAME,
    silenceMs: 30_000,
    restsWhenHidden: false,
    open: async function* (signal) {
      // Begun before the list is asked for, so that nothing falls between them.
      const tail = controller.operations.tailConnections({ includeUpdates: true }, { signal })[Symbol.asyncIterator]();
      const first = tail.next();
      first.catch(() => undefined);
      const before = table.current.liveAt([""]);
      const listing = list(true, signal);
      let step = await listing.next();
      // A page is a sign of life.
      for (; !step.done; step = await listing.next()) yield { events: [], updates: [], newlyDropped: 0n };
      const { connections, isWhole } = step.value;
      table.current.reconcile(connections, isWhole ? before : []);
      isLoaded.current = true;
      let ofThisStream = 0n;
      // The list has come: the page is live, though nothing may happen for a while.
      yield { events: [], updates: [], newlyDropped: 0n };
      for (let item = await first; !item.done; item = await tail.next()) {
        const { events, updates, relearnedNodes } = item.value;
        if (relearnedNodes.length > 0) relist(relearnedNodes, signal).catch(() => undefined);
        yield { events, updates, newlyDropped: item.value.dropped - ofThisStream };
        ofThisStream = item.value.dropped;
      }
    },
    onMessage: ({ events, updates, newlyDropped }) => {
      table.current.apply(events);
      table.current.update(updates);
      if (newlyDropped === 0n) return;
      dropped.current += newlyDropped;
      reportBehind(NAME, `${newlyDropped} events were dropped, since they came too fast`);
    },
  });

  useEffect(() => {
    heldAt.current = table.current.taken;
    const show = (): void => {
      const { newestFirst, taken } = table.current;
      setShown((old) => {
        const next = {
          rows: isHeld ? old.rows : newestFirst,
          isLoaded: isLoaded.current,
          dropped: dropped.current,
          waiting: isHeld ? taken - heldAt.current : 0,
        };
        const isSame =
          next.rows === old.rows &&
          next.isLoaded === old.isLoaded &&
          next.dropped === old.dropped &&
          next.waiting === old.waiting;
        return isSame ? old : next;
      });
    };
    show();
    const timer = setInterval(show, SHOW_MS);
    return () => clearInterval(timer);
  }, [isHeld]);

  return [shown, (id) => table.current.get(id)];
}
