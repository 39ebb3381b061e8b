/** The call that is being answered, for what is done on its behalf: who asked, and whether the audit log has it. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Identity } from "./identity.js";

export interface CurrentCall {
  readonly identity: Identity;
  /** Enrollment learns late who is calling. */
  actor: string;
  /** "ClusterService/CreateNetwork" */
  readonly action: string;
  /** "KIND/NAME", as far as the request says. */
  resource: string;
  readonly peer: string;
  /** Whether a transaction of this call has written its audit entries. */
  isRecorded: boolean;
}

const storage = new AsyncLocalStorage<CurrentCall>();

/** The call that this turn belongs to; undefined for what the controller does by itself. */
export function currentCall(): CurrentCall | undefined {
  return storage.getStore();
}

/** Each step of the generator runs as part of the call. */
export function withinCall<Item, Result>(
  call: CurrentCall,
  generator: AsyncGenerator<Item, Result, undefined>,
): AsyncGenerator<Item, Result, undefined> {
  const within = {
    next: () => storage.run(call, () => generator.next()),
    return: (value: Result | PromiseLike<Result>) => storage.run(call, () => generator.return(value)),
    throw: (error: unknown) => storage.run(call, () => generator.throw(error)),
    [Symbol.asyncIterator]: (): AsyncGenerator<Item, Result, undefined> => steps,
  };
  const steps = within as AsyncGenerator<Item, Result, undefined>;
  return steps;
}
