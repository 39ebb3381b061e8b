/**
 * Who may do something heavy now, when many want to at once: the first full states of a thousand nodes after a restart take
 * their turns, so that the first of them are soon complete and no more than a few are in memory as bytes.
 *
 * A turn is taken back after a time, whether it was given up or not: one that is stuck delays the others, and stops nobody.
 */

export interface Turn {
  /** Resolves when it has come. */
  readonly come: Promise<void>;
  /** Gives it to the next. May be called more than once, and before it has come. */
  end(): void;
}

export class Turns {
  readonly #most: number;
  readonly #longestMs: number;
  readonly #waiting = new Set<() => void>();
  #running = 0;

  /** @param most At a time. @param longestMs After which a turn ends by itself. */
  constructor(most: number, longestMs: number) {
    this.#most = most;
    this.#longestMs = longestMs;
  }

  take(): Turn {
    let state: "waiting" | "running" | "over" = "waiting";
    let timer: NodeJS.Timeout | undefined;
    let begin: () => void = () => undefined;
    const end = (): void => {
      this.#waiting.delete(begin);
      clearTimeout(timer);
      if (state === "running") {
        this.#running -= 1;
        this.#next();
      }
      state = "over";
    };
    const come = new Promise<void>((resolve) => {
      begin = () => {
        state = "running";
        this.#running += 1;
        timer = setTimeout(end, this.#longestMs);
        timer.unref();
        resolve();
      };
    });
    this.#waiting.add(begin);
    this.#next();
    return { come, end };
  }

  #next(): void {
    for (const begin of this.#waiting) {
      if (this.#running >= this.#most) return;
      this.#waiting.delete(begin);
      begin();
    }
  }
}
