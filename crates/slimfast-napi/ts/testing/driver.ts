/**
 * A process that makes the calls of the core that a test sends it: the addon works on the network namespace and moves
 * the cgroup of the process that it is in, and that must not be the test's own.
 *
 * Messages are {@link Call}s, one at a time or several; answers are {@link Answer}s. Ends when the test goes away.
 */
import { type Core, type CoreConfig, CoreError, type EventBatch, openCore, recover } from "../index.js";

export interface Call {
  id: number;
  /** A method of the core, or `open`, `recover`, `events`. */
  name: string;
  args: unknown[];
}

export interface Answer {
  id: number;
  value?: unknown;
  error?: Failure;
}

/** What the test can see of an error. */
export interface Failure {
  isCoreError: boolean;
  kind: string;
  field: string | null;
  holder: string | null;
  message: string;
}

let core: Core | undefined;
const batches: EventBatch[] = [];

const ownCalls: Readonly<Record<string, (...args: never[]) => unknown>> = {
  open: async (config: CoreConfig) => {
    core = await openCore(config);
    core.onEvents((batch) => batches.push(batch));
  },
  recover,
  events: () => batches.splice(0),
};

async function make({ name, args }: Call): Promise<unknown> {
  const own = ownCalls[name];
  if (own) return own(...(args as never[]));
  const method: unknown = core?.[name as keyof Core];
  if (typeof method !== "function") throw new Error(`there is no call ${name}`);
  return method.apply(core, args);
}

function describe(thrown: unknown): Failure {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (!(thrown instanceof CoreError)) return { isCoreError: false, kind: "", field: null, holder: null, message };
  const { kind, field, holder } = thrown;
  return { isCoreError: true, kind, field, holder, message };
}

process.on("message", async (call: Call) => {
  const answer: Answer = { id: call.id };
  try {
    answer.value = await make(call);
  } catch (thrown) {
    answer.error = describe(thrown);
  }
  process.send?.(answer);
});
process.on("disconnect", () => process.exit(0));
