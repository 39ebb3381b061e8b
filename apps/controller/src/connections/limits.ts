/** Sizes, limits and time-outs of what the controller knows about connections, with their units. */

/** Live connections that a controller keeps of all nodes that report to it: about 200 MB. More are counted, not kept. */
export const MAX_LIVE_CONNECTIONS = 200_000;
/** Connections that closed or were refused, the last ones of all nodes. */
export const MAX_RECENT_CONNECTIONS = 10_000;
/** Kernel counters of a node, and the length of their names. */
export const MAX_NODE_COUNTERS = 256;
export const MAX_COUNTER_NAME_CHARS = 63;
/** Longest text in a reported connection: no address, name or state is longer. */
export const MAX_CONNECTION_TEXT_CHARS = 128;

/** Events that wait for a tail; when there are more the oldest go, and its reader is told to list again. */
export const TAIL_BUFFER_EVENTS = 20_000;
export const TAIL_BATCH_EVENTS = 1_000;
export const TAIL_INTERVAL_MS = 100;
/** A tail says so when there was nothing to tell for this long. */
export const TAIL_SILENCE_MS = 10_000;

export const OVERVIEW_INTERVAL_MS = 1_000;
export const TRAFFIC_INTERVAL_MS = 2_000;
/** Setup times, rates of traffic and the like are of this last while. */
export const RATE_WINDOW_MS = 10_000;
export const MAX_TRAFFIC_EDGES = 500;
/** Streams of OperationsService that may be open at a controller, those of other controllers included. */
export const MAX_OPERATION_STREAMS = 512;

/** Records that are looked at in one go: other work gets its turn in between. */
export const RECORDS_PER_TURN = 5_000;
export const MAX_POLICY_EFFECTS = 200;

/** How long a node may take to confirm that a connection was cut. */
export const CUT_CONFIRM_MS = 3_000;
/** Commands that wait for a node which does not take them. */
export const MAX_WAITING_COMMANDS = 1_000;
/** How long another controller may take to add its share to an answer. */
export const PEER_ANSWER_MS = 1_000;
