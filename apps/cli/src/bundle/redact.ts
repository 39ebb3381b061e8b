/** Takes secrets out of texts. What goes into a support bundle passes through here, whatever it is. Pure. */

const SECRETS: readonly RegExp[] = [
  // API and join tokens.
  /\bsf_[A-Za-z0-9_-]{8,}(\.[0-9a-f]{64})?/g,
  // Keys in PEM.
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  // Headers, and URLs of a log-in.
  /\b(bearer\s+)[^\s"',]+/gi,
  /\b((?:access_?|login_?|join_?)?(?:token|secret|password)["']?\s*[=:]\s*["']?)[^\s"'&,]+/gi,
];

export const REDACTED = "[removed]";

export function redact(text: string): string {
  return SECRETS.reduce(
    (clean, pattern) =>
      clean.replace(pattern, (_match: string, prefix: unknown) =>
        // The first group of the last two patterns is what may stay.
        typeof prefix === "string" && !prefix.startsWith(".") && !prefix.startsWith("-")
          ? `${prefix}${REDACTED}`
          : REDACTED,
      ),
    text,
  );
}
