/** Where a fake is to fail or to wait: a test says it beforehand, the fake passes through here. */

/** A call that waits. */
export interface Hold {
  /** Fulfilled when the call has come. */
  readonly reached: Promise<void>;
  release(): void;
}

export class Faults<Name extends string> {
  readonly #failures = new Map<Name, Error[]>();
  readonly #permanent = new Map<Name, Error>();
  readonly #holds = new Map<Name, { arrive: () => void; released: Promise<void> }[]>();

  /** The next call fails; said several times, so many calls do. */
  failNext(name: Name, error: Error): void {
    this.#failures.set(name, [...(this.#failures.get(name) ?? []), error]);
  }

  /** All calls fail from now on, until that is said of `undefined`. */
  failAll(name: Name, error: Error | undefined): void {
    if (error) this.#permanent.set(name, error);
    else this.#permanent.delete(name);
  }

  /** The next call waits until it is released. */
  holdNext(name: Name): Hold {
    let arrive = () => {};
    let release = () => {};
    const reached = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#holds.set(name, [...(this.#holds.get(name) ?? []), { arrive, released }]);
    return { reached, release };
  }

  async pass(name: Name): Promise<void> {
    const hold = this.#holds.get(name)?.shift();
    hold?.arrive();
    await hold?.released;
    const error = this.#failures.get(name)?.shift() ?? this.#permanent.get(name);
    if (error) throw error;
  }
}
