/**
 * Tests of CPython's own suite that end differently in an endpoint than in an ordinary network namespace, each with its
 * reason. A difference that is not listed fails the suite.
 */
export interface Difference {
  /** As unittest names it: `test.test_socket.Class.test_method`. */
  readonly test: string;
  readonly native: string;
  /** Each of them happens, in the `notify` tier and on a busy machine; where there is one, it is always that. */
  readonly ours: readonly string[];
  readonly reason: string;
}

export const DIFFERENCES: readonly Difference[] = [];
