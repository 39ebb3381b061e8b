/** Sizes, limits and time-outs of the controller, with their units. Nothing else in it decides a number. */

/** Longest DNS label (RFC 1123). */
export const MAX_NAME_CHARS = 63;

/** Lengths that the prefixes of networks can have, and the longest of their nodes' subnets, by family. */
export const PREFIX_BITS = { 4: { min: 8, max: 29 }, 6: { min: 48, max: 120 } } as const;
export const MAX_SUBNET_BITS = { 4: 30, 6: 126 } as const;

/**
 * IPv6 addresses that are given out are among this many from the first of the network or of the node's subnet on: more than
 * there are endpoint ids. The others can be asked for.
 */
export const MAX_CHOSEN_ADDRESSES = 2 ** 32;

/** A VNI has 24 bits (RFC 7348); 0 means "choose one". */
export const MAX_VNI = 2 ** 24 - 1;

/** An endpoint id has 32 bits. */
export const MAX_ENDPOINT_ID = 2 ** 32 - 1;

export const MAX_PORT = 65_535;

export const MAX_PUBLISHED_PORTS = 128;
export const MAX_EGRESS_RANGES = 256;
export const MAX_LABELS = 64;
export const MAX_LABEL_KEY_CHARS = 253;
export const MAX_LABEL_VALUE_CHARS = 63;
export const MAX_DESCRIPTION_CHARS = 500;
export const MAX_AGENT_VERSION_CHARS = 100;
export const MAX_REQUEST_ID_CHARS = 64;

export const MAX_POLICY_SELECTORS = 64;
export const MAX_POLICY_PORT_RANGES = 64;

/** What the kernel of each node of the network has to hold. */
export const MAX_POLICIES_PER_NETWORK = 1_000;

/** Watches of resources that are open at a time. */
export const MAX_WATCHES = 1_000;
/** Changes that wait for a watcher; one that is slower is ended. */
export const MAX_WATCH_BACKLOG = 20_000;
/** Resources in one response of those that a watch begins with. */
export const MAX_CHANGES_PER_RESPONSE = 500;
/** A watch that has nothing to say says so after this time. */
export const WATCH_SIGN_OF_LIFE_MS = 10_000;

/** Where the controller looks for static reservations: first below the usual ephemeral ports, then everywhere. */
export const PREFERRED_PORTS = { first: 20_000, last: 32_767 } as const;
export const UNPRIVILEGED_PORTS = { first: 1_024, last: MAX_PORT } as const;

export const MIN_LEASE_MS = 1_000;
export const MAX_LEASE_MS = 366 * 24 * 3_600_000;

/** How long the answer to a creation is kept for its repetition. */
export const REQUEST_ID_LEASE_MS = 3_600_000;

export const MAX_FILTER_CHARS = 2_048;
/** Parentheses and NOTs inside each other. */
export const MAX_FILTER_DEPTH = 16;
export const MAX_FILTER_COMPARISONS = 64;

export const DEFAULT_PAGE_SIZE = 100;
export const MAX_PAGE_SIZE = 1_000;
/** A page token that was given out is shorter than this. */
export const MAX_PAGE_TOKEN_CHARS = 512;
/** Resources that one call of a list looks at: a filter that few pass may give short pages, but never blocks others. */
export const MAX_SCANNED_PER_PAGE = 10_000;

/** Messages up to this size are taken: the hello of an agent that knows about 200,000 endpoints fits. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Resources in one Sync response: about 5 MB if all were endpoints with the most labels allowed. */
export const MAX_RESOURCES_PER_RESPONSE = 500;

/** Nodes that are sent their first state at the same time, */
export const FIRST_STATES_AT_A_TIME = 32;
/** and for how long others wait for one that does not acknowledge it. */
export const FIRST_STATE_TURN_MS = 500;

/** Streams that are woken in one turn of the event loop by a change that concerns more: others have their say in between. */
export const STREAMS_PER_TURN = 64;

/** How long addresses of nodes that change are collected before the other nodes are told of them. */
export const ADDRESSES_COLLECTED_MS = 500;

/** A response that is not acknowledged for so long ends the stream: the agent is stuck, or does not read. */
export const ACK_TIMEOUT_MS = 30_000;
export const ACK_CHECK_MS = 1_000;

/** What is kept of an agent's reason for a refusal. */
export const MAX_SYNC_ERROR_CHARS = 1_000;

/** How long CreateEndpoint waits for the acknowledgement of the network's other nodes. */
export const WAIT_FOR_PEERS_MS = 2_000;

/** How long calls that run may take to end after SIGTERM before they are cut; the whole shutdown stays below 2 s. */
export const SHUTDOWN_GRACE_MS = 1_500;

/** How long a connect may take that finds out whether somebody answers on an old unix socket. */
export const SOCKET_PROBE_MS = 500;

/** Changes that are kept for watches that were away. */
export const KEPT_CHANGES = 20_000;

/** How often leases are looked at while one is running: the clock of timers stands still while the machine sleeps. */
export const LEASE_CHECK_MS = 10_000;

/** A request of the console: nothing that people enter comes near this. */
export const MAX_WEB_REQUEST_BYTES = 1024 * 1024;

/** A login: a token and some JSON. */
export const MAX_LOGIN_BYTES = 4 * 1024;

export const MAX_SESSIONS = 1_000;

/** A session ends this long after its login, */
export const SESSION_LIFETIME_MS = 12 * 3_600_000;

/** or after nothing was asked in it for this long. */
export const SESSION_IDLE_MS = 2 * 3_600_000;

/** After this time a session gets another id, */
export const SESSION_ROTATION_MS = 15 * 60_000;

/** and the one before is taken for this long. */
export const SESSION_GRACE_MS = 60_000;

/** How long after a failure the controller tries again to say which nodes are connected to it. */
export const PRESENCE_RETRY_MS = 500;

/** Longest time of one call of etcd. */
export const ETCD_CALL_MS = 2_000;
/** How long a transaction is tried against an etcd that does not answer or has no leader. */
export const ETCD_COMMIT_MS = 5_000;
/** Pause before another attempt to reach etcd. */
export const ETCD_RETRY_MS = 200;
/** How often a transaction is tried again because what it read has changed. */
export const ETCD_CONFLICT_ATTEMPTS = 100;
/** After so many conflicts a transaction that depends on everything holds other controllers up, */
export const ETCD_CONFLICTS_BEFORE_HOLD = 3;
/** for no longer than this. */
export const ETCD_HOLD_S = 5;
/** Longest pause after a conflict. */
export const ETCD_CONFLICT_PAUSE_MS = 20;
/** Operations and comparisons in one etcd transaction: etcd takes 128 of each unless told otherwise. */
export const ETCD_TRANSACTION_OPERATIONS = 100;
/** Where there are more, in each of three levels of transactions inside each other: together they have to stay below 128. */
export const ETCD_NESTED_OPERATIONS = 40;
/** After this time without a sign of life a controller's nodes count as not connected. */
export const SESSION_TTL_S = 5;
export const SESSION_KEEPALIVE_MS = 1_000;
/** Endpoint ids that a controller takes at once. */
export const ENDPOINT_ID_BLOCK = 256;
