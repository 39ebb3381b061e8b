/** What is mounted where, in this mount namespace. */
import { readFileSync } from "node:fs";

export interface Mount {
  readonly target: string;
  readonly type: string;
}

/** In the order in which they were mounted. */
export function mounts(text: string = readFileSync("/proc/self/mounts", "utf8")): readonly Mount[] {
  return text.split("\n").flatMap((line) => {
    const [, target, type = ""] = line.split(" ");
    // The kernel writes blanks in paths as \040.
    return target === undefined ? [] : [{ target: target.replaceAll("\\040", " "), type }];
  });
}

/** The last one first: in the order in which they can be taken away. */
export function mountsBelow(directory: string, all: readonly Mount[] = mounts()): string[] {
  return all.flatMap(({ target }) => (target.startsWith(`${directory}/`) ? [target] : [])).reverse();
}
