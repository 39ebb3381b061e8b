/**
 * Tests of CPython's own suite that end differently in an endpoint than in an ordinary network namespace, each with its
 * reason. A difference that is not listed fails the suite, and so does a listed one that is none any more.
 */
export interface Difference {
  /** As unittest names it: `test.test_socket.Class.test_method`. */
  readonly test: string;
  readonly native: string;
  readonly ours: string;
  readonly reason: string;
}

export const DIFFERENCES: readonly Difference[] = [];
