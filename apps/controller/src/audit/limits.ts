/** Sizes and times of the audit log, with their units. */

/** Entries of the audit log that are kept. */
export const MAX_AUDIT_ENTRIES = 20_000;
/** Entries about refused calls wait this long for others, to be written together. */
export const AUDIT_FLUSH_MS = 50;
/** Refused calls that wait to be written; beyond, they are only counted. */
export const MAX_AUDIT_PENDING = 2_000;
/** Longest message, and longest resource before or after, that an entry holds; more is cut. */
export const MAX_AUDIT_MESSAGE_CHARS = 2_000;
export const MAX_AUDIT_RESOURCE_CHARS = 16_384;
/** Entries that one watcher has not read yet; beyond, it is ended. */
export const MAX_AUDIT_WATCH_PENDING = 5_000;

/** So many entries beyond are deleted at once. */
export const AUDIT_TRIM_ENTRIES = 256;
