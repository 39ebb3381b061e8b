/** Where the web server listens, and whether it needs TLS there: everywhere but on loopback. */
import { StartupError } from "../errors.js";
import { isLoopback, type ListenAddress, parseHostPort } from "../listen.js";

export type WebAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly isSecure: boolean }
  /** A socket on loopback that listens already, opened by whoever has started this process. */
  | { readonly kind: "inherited"; readonly descriptor: number; readonly isSecure: false };

/**
 * Reads HOST:PORT or fd:N.
 *
 * @throws StartupError `address_refused` for anything else, and where TLS is needed and there is none.
 */
export function parseWebAddress(text: string, hasTls: boolean): WebAddress {
  const descriptor = /^fd:(\d{1,4})$/.exec(text)?.[1];
  if (descriptor !== undefined) return { kind: "inherited", descriptor: Number(descriptor), isSecure: false };
  if (text.startsWith("unix:")) throw new StartupError("address_refused", "--http needs HOST:PORT");
  const { host, port } = parseHostPort(text);
  const isSecure = !isLoopback(host);
  if (isSecure && !hasTls) {
    throw new StartupError(
      "address_refused",
      `--http ${text} is not a loopback address, and the console would cross the network in the clear: add --tls, or ` +
        "listen on 127.0.0.1:PORT or [::1]:PORT",
    );
  }
  return { kind: "tcp", host, port, isSecure };
}

/** Those of the option, for the names in the server's certificate. What is malformed is refused by whoever listens there. */
export function webListenAddresses(option: string | undefined): ListenAddress[] {
  return (option?.split(",") ?? []).flatMap((text) => {
    const match = /^(.+):(\d{1,5})$/.exec(text);
    return match?.[1] === undefined || match[1] === "fd"
      ? []
      : [{ kind: "tcp" as const, host: match[1], port: Number(match[2]) }];
  });
}
