/** Ctrl-C and its relatives, as something to wait for. */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
export type Interrupt = (typeof SIGNALS)[number];

export interface InterruptWatch {
  /** Resolves with the first signal. */
  readonly interrupted: Promise<Interrupt>;
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Gives the signals their default effect back. */
  close(): void;
}

/**
 * From now on SIGINT, SIGTERM and SIGHUP do not end this process. The clean-up that follows the first of them is not to
 * be torn by an impatient second one.
 */
export function watchInterrupts(): InterruptWatch {
  const controller = new AbortController();
  let resolveFirst: (name: Interrupt) => void = () => undefined;
  const interrupted = new Promise<Interrupt>((resolve) => {
    resolveFirst = resolve;
  });
  const onSignal = (name: NodeJS.Signals) => {
    resolveFirst(name as Interrupt);
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    interrupted,
    signal: controller.signal,
    close: () => {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}
