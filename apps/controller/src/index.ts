/** For those who run a controller in their own process, as tests do. */
export { type Controller, type ControllerOptions, startController } from "./controller.js";
export { StartupError } from "./errors.js";
