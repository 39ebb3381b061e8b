/** Sizes, limits and time-outs of certificates, tokens and their use, with their units. */

/** Life of the cluster's authority. */
export const AUTHORITY_LIFETIME_MS = 10 * 365 * 24 * 3_600_000;
/** An authority that ends sooner than this gets a successor. */
export const AUTHORITY_RENEWAL_MS = 365 * 24 * 3_600_000;
/** Life of the certificates of nodes and controllers, unless the controller is told otherwise. */
export const CERTIFICATE_LIFETIME_MS = 24 * 3_600_000;
export const MIN_CERTIFICATE_LIFETIME_MS = 1_000;
export const MAX_CERTIFICATE_LIFETIME_MS = 366 * 24 * 3_600_000;
/** A controller renews its own certificate after this part of its life. */
export const CERTIFICATE_RENEWAL_PART = 2 / 3;
/** Certificates are valid from this long before they are made: so far may clocks differ. */
export const CLOCK_SKEW_MS = 5 * 60_000;
export const MAX_CERTIFICATE_REQUEST_BYTES = 8_192;
/** Certificates of one node that are valid at the same time; the oldest is given up for another. */
export const MAX_CERTIFICATES_PER_NODE = 8;

/** Pause before the controller tries again to renew its certificate. */
export const RENEWAL_RETRY_MS = 5_000;
/** Longest delay of a timer: it would fire at once beyond 2^31 ms. */
export const MAX_TIMER_MS = 24 * 3_600_000;

/** Longest `authorization` that is looked at. */
export const MAX_AUTHORIZATION_CHARS = 1_024;
/** Failed authentications of one peer that are answered as such, before it has to wait. */
export const FAILURE_BURST = 20;
/** After this time it may have one more. */
export const FAILURE_REFILL_MS = 3_000;
/** Peers whose failures are counted. */
export const FAILURE_PEERS = 10_000;
/** How often open calls are looked through for callers whose rights have ended by themselves. */
export const RIGHTS_CHECK_MS = 500;
/** A token's last use is accurate to this. */
export const LAST_USE_MS = 60_000;

/** Life of a token that is made without one. */
export const TOKEN_LIFETIME_MS = 90 * 24 * 3_600_000;
export const JOIN_TOKEN_LIFETIME_MS = 3_600_000;
export const MIN_TOKEN_LIFETIME_MS = 1_000;
export const MAX_TOKEN_LIFETIME_MS = 3_660 * 24 * 3_600_000;
/** A list is narrowed by a filter that names them all, and filters are bounded. */
export const MAX_TOKEN_NETWORKS = 16;
export const MAX_TOKENS = 10_000;
export const MAX_DESCRIPTION_CHARS = 500;
