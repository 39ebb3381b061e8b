/**
 * The services of this controller and what surrounds each call of them, whichever way the call comes in: gRPC, or
 * gRPC-Web over HTTP. So there is no second place where callers are authenticated or errors are converted.
 */
import {
  type CallContext,
  type CompatServiceDefinition,
  composeServerMiddleware,
  type Server,
  type ServerMiddleware,
  type ServiceImplementation,
} from "nice-grpc";

/** What ts-proto generates for a method. */
export interface ServedMethod {
  readonly name: string;
  readonly requestType: { decode(input: Uint8Array): unknown };
  readonly requestStream: boolean;
  readonly responseType: { encode(message: unknown): { finish(): Uint8Array }; fromPartial(object: unknown): unknown };
  readonly responseStream: boolean;
  readonly options: { readonly idempotencyLevel?: "IDEMPOTENT" | "NO_SIDE_EFFECTS" };
}

/** Of a method with one request: its answer, or the stream of them. */
export type Implementation = (request: unknown, context: CallContext) => unknown;

export interface ServedService {
  readonly definition: { readonly fullName: string; readonly methods: Readonly<Record<string, ServedMethod>> };
  /** By the names of `definition.methods`. */
  readonly implementation: Readonly<Record<string, Implementation>>;
  /** Adds it to a gRPC server. */
  addTo(server: Server): void;
}

export interface Registry {
  readonly services: readonly ServedService[];
  /** Around every call, the outermost first. */
  readonly middleware: readonly ServerMiddleware[];
}

/** Pairs a definition with its implementation; that they belong together is checked here, once. */
export function served<Definition extends CompatServiceDefinition>(
  definition: Definition,
  implementation: ServiceImplementation<Definition>,
): ServedService {
  const addTo = (server: Server): void => void server.add(definition, implementation);
  return { definition, implementation, addTo } as unknown as ServedService;
}

/** All of them as one; undefined if there is none. */
export function composed(middleware: readonly ServerMiddleware[]): ServerMiddleware | undefined {
  return middleware.reduce<ServerMiddleware | undefined>(
    (outer, inner) => (outer ? composeServerMiddleware(outer, inner) : inner),
    undefined,
  );
}
