/** Traces of the SlimFast programs: where they go, and the server's part of each. */

export { tracingServerMiddleware } from "./server-middleware.js";
export { startTracing, type Tracing, type TracingOptions } from "./tracing.js";
