// biome-ignore-all lint/suspicious/noConfusingVoidType: nice-grpc says so of how a call ends
/**
 * Streams of responses past the middleware: the layers around a call see how it begins and how it ends, and what comes in
 * between goes from the service to the caller. Through each layer, which is a generator, every response would cost promises
 * that live until the next one; with thousands of responses a second that is most of what the garbage collector has to do.
 *
 * The outermost layer, `directStreams`, is the caller's side; the innermost passes the service's responses to it and waits.
 */
import { type CallContext, type Metadata, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc";

type Steps<Response> = AsyncGenerator<Response, Response | void, undefined>;

const streams = new WeakMap<Metadata, DirectStream<unknown>>();

/** Middleware: outermost of those that need not see every response. */
export function directStreams<Request, Response>(
  call: ServerMiddlewareCall<Request, Response>,
  context: CallContext,
): Steps<Response> {
  if (!call.responseStream) return call.next(call.request, context);
  const stream = new DirectStream(() => call.next(call.request, context));
  streams.set(context.metadata, stream as DirectStream<unknown>);
  return stream as unknown as Steps<Response>;
}

/** The caller's side of a call that streams responses. */
export function directStreamOf<Response>({ metadata }: Pick<CallContext, "metadata">): DirectStream<Response> {
  const stream = streams.get(metadata);
  if (!stream) throw new Error("the middleware of direct streams is missing");
  return stream as DirectStream<Response>;
}

type Item<Response> = IteratorResult<Response, Response | void>;

export class DirectStream<Response> {
  readonly #begin: () => Steps<Response>;
  /** What comes of the layers: it ends as the call does. */
  #outcome: Promise<Item<Response>> | undefined;
  #source: Steps<Response> | undefined;
  #visible: (response: Response) => Response = (response) => response;
  #settle: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined;
  #isOver = false;
  #failure: unknown;
  #began: () => void = () => undefined;
  /** Answers the caller, who waits for a response. */
  #answer: (item: Item<Response> | Promise<Item<Response>>) => void = () => undefined;

  constructor(begin: () => Steps<Response>) {
    this.#begin = begin;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Item<Response>> {
    if (!this.#outcome) return this.#start();
    const source = this.#source;
    if (!source || this.#isOver) return this.#outcome;
    return new Promise((resolve) => {
      this.#answer = resolve;
      source
        .next()
        .then((item) => (item.done ? this.#over() : resolve({ done: false, value: this.#visible(item.value) })))
        .catch((error: unknown) => this.end(error));
    });
  }

  async #start(): Promise<Item<Response>> {
    const began = new Promise<void>((resolve) => {
      this.#began = resolve;
    });
    const outcome = this.#begin().next();
    this.#outcome = outcome;
    // A call that is refused ends without having begun.
    await Promise.race([began, outcome]);
    return await this.next();
  }

  /**
   * Lets the caller have these responses.
   *
   * @param visible What it may see of one.
   * @returns When they are over. Rejects if they fail, or with what `end` was called with.
   */
  pass(source: Steps<Response>, visible: (response: Response) => Response): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#source = source;
      this.#visible = visible;
      this.#began();
      if (this.#isOver) reject(this.#failure);
    });
  }

  /** Ends it with an error, whoever is waiting for what. The caller gets what the layers make of it. */
  end(error: unknown): void {
    if (this.#isOver) return;
    this.#failure = error;
    this.#settle?.reject(error);
    this.#over();
  }

  #over(): void {
    this.#isOver = true;
    // Nothing is lost of those that were ended already.
    this.#settle?.resolve();
    if (!this.#outcome) return;
    this.#answer(this.#outcome);
    this.#outcome.catch(() => undefined);
  }

  /** The caller wants no more. */
  async return(): Promise<IteratorResult<Response, void>> {
    this.end(new ServerError(Status.CANCELLED, "the caller has gone"));
    await this.#outcome?.catch(() => undefined);
    return { done: true, value: undefined };
  }

  /** The caller could not take a response. */
  async throw(error: unknown): Promise<Item<Response>> {
    this.end(error);
    if (!this.#outcome) throw error;
    return await this.#outcome;
  }
}
