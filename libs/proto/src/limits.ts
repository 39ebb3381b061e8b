/** Limits of the API that both of its sides know. */

/** Most connections of one answer to ListConnections of the local API: what an agent has room for in a message. */
export const MAX_LISTED_CONNECTIONS = 16_000;
