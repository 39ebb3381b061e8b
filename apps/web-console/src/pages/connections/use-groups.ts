/** Groups of what is shown, added up in turns, so that 100,000 records hold up nobody who presses a key meanwhile. */
import type { ConnectionRecord } from "@slimfast/proto";
import { startTransition, useEffect, useRef, useState } from "react";
import { type Group, Grouping } from "./groups.js";

/** Some milliseconds' worth. */
const RECORDS_PER_TURN = 4_000;
const PAUSE_MS = 200;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Null: they are being added up for the first time. */
export function useGroups(records: readonly ConnectionRecord[]): readonly Group[] | null {
  const [groups, setGroups] = useState<readonly Group[] | null>(null);
  const latest = useRef(records);
  latest.current = records;
  useEffect(() => {
    let isEnded = false;
    const keepUp = async (): Promise<void> => {
      let done: readonly ConnectionRecord[] | null = null;
      while (!isEnded) {
        const wanted = latest.current;
        if (wanted !== done) {
          const grouping = new Grouping();
          for (let at = 0; at < wanted.length && !isEnded; at += RECORDS_PER_TURN) {
            grouping.add(wanted.slice(at, at + RECORDS_PER_TURN));
            await pause(0);
          }
          if (isEnded) return;
          startTransition(() => setGroups(grouping.busiestFirst));
          done = wanted;
        }
        await pause(PAUSE_MS);
      }
    };
    void keepUp();
    return () => {
      isEnded = true;
    };
  }, []);
  return groups;
}
