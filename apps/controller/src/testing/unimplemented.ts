/** For tests that need a part of a service only: its other methods answer UNIMPLEMENTED. */
import { type CallContext, ServerError, Status } from "nice-grpc";

export function withUnimplemented<Implementation extends object>(
  definition: { readonly methods: Readonly<Record<string, object>> },
  implementation: Partial<Implementation>,
): Implementation {
  const methods = Object.keys(definition.methods).map((name) => [
    name,
    (_request: unknown, _context: CallContext): never => {
      throw new ServerError(Status.UNIMPLEMENTED, `${name} is not implemented`);
    },
  ]);
  return { ...Object.fromEntries(methods), ...implementation };
}
