/** Who may do what, put together: what a controller needs of it. */
import { AccessServiceDefinition, EnrollmentServiceDefinition } from "@slimfast/proto";
import type { ServerMiddleware } from "nice-grpc";
import type { Logger } from "pino";
import { AuditLog, systemEntry } from "../audit/audit-log.js";
import { auditedStore } from "../audit/audited-store.js";
import { accessService, enrollmentService } from "../services/access-service.js";
import { type ServedService, served } from "../services/registry.js";
import type { Store } from "../store/store.js";
import { accessMiddleware } from "./access-middleware.js";
import { Authenticator } from "./authenticator.js";
import { ClusterAuthority } from "./cluster-authority.js";
import { Enrollment } from "./enrollment.js";
import { FailureLimit } from "./failure-limit.js";
import { CERTIFICATE_LIFETIME_MS } from "./limits.js";
import { OpenCalls } from "./open-calls.js";
import { Tokens } from "./tokens.js";

export interface SecurityOptions {
  readonly store: Store;
  readonly log: Logger;
  /** Host names and addresses of this controller, for its certificate. */
  readonly names: readonly string[];
  readonly certificateLifetimeMs?: number | undefined;
  /** Whether its listeners on TCP have TLS. */
  readonly hasTls: boolean;
  /** The server's certificate, if it is not to be signed by the cluster's authority. Both in PEM. */
  readonly ownCertificate?: { readonly chain: string; readonly privateKey: string } | undefined;
}

export interface Security {
  /** The store through which all changes are to be made: it records them. */
  readonly store: Store;
  readonly audit: AuditLog;
  readonly enrollment: Enrollment;
  readonly services: readonly ServedService[];
  /** The cluster's authority; made when it is first asked for. */
  authority(): Promise<ClusterAuthority>;
  /** The innermost around every call. */
  middleware(networkOfConnection: (id: string) => Promise<string | undefined>): ServerMiddleware;
  /** To be called before the store is closed, when nothing calls any more. */
  close(): Promise<void>;
}

/** Notes when agents of this controller come and go. */
function recordPresence(store: Store, audit: AuditLog): () => void {
  return store.onCommit(({ changes }) => {
    for (const change of changes) {
      if (change.kind !== "presence") continue;
      const isMine = (presence: { readonly controller: string } | undefined) =>
        presence?.controller === store.controllerId;
      if (isMine(change.after) && !isMine(change.before))
        audit.note(systemEntry("node.connected", `node/${change.key}`));
      if (isMine(change.before) && !change.after) audit.note(systemEntry("node.disconnected", `node/${change.key}`));
    }
  });
}

/** Of all controllers: they are started alike. */
function networkAddresses(store: Store): string[] {
  const members = store.list("controller", { limit: -1 });
  return members.flatMap(({ addresses }) => addresses.filter((address) => !address.startsWith("unix:")));
}

export function openSecurity(options: SecurityOptions): Security {
  const { store: plain, log, names, ownCertificate } = options;
  const store = auditedStore(plain);
  const audit = new AuditLog(plain, log);
  const tokens = new Tokens(store, plain);
  const authenticator = new Authenticator({
    tokenByHash: (hash) => plain.getTokenByHash(hash),
    certificatesOf: (node) => plain.get("certificates", node),
  });
  let opening: Promise<ClusterAuthority> | undefined;
  const authority = (): Promise<ClusterAuthority> => {
    opening ??= ClusterAuthority.open({
      store,
      log,
      names,
      certificateLifetimeMs: options.certificateLifetimeMs ?? CERTIFICATE_LIFETIME_MS,
      ...(ownCertificate ? { ownCertificate } : {}),
    }).catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return opening;
  };
  const enrollment = new Enrollment({ store, authority, authenticator });
  const controllers = () => (options.hasTls ? networkAddresses(plain) : []);
  const openCalls = new OpenCalls((identity) => authenticator.invalidity(identity));
  const stopListening = plain.onCommit(({ changes }) => {
    if (changes.some(({ kind }) => kind === "token" || kind === "certificates")) openCalls.check();
  });
  const stopPresence = recordPresence(plain, audit);
  const failures = new FailureLimit();
  return {
    store,
    audit,
    enrollment,
    services: [
      served(AccessServiceDefinition, accessService({ store, tokens, enrollment, authority, controllers })),
      served(EnrollmentServiceDefinition, enrollmentService(enrollment)),
    ],
    authority,
    middleware: (networkOfConnection) =>
      accessMiddleware({
        authenticator,
        lookups: {
          nodeOfEndpoint: (network, name) => plain.getEndpoint(network, name)?.node,
          networkOfConnection,
        },
        openCalls,
        failures,
        audit,
        used: (identity) => tokens.noteUse(identity),
      }),
    close: async () => {
      stopListening();
      stopPresence();
      openCalls.close();
      const opened = await opening?.catch(() => undefined);
      opened?.close();
      await audit.close();
    },
  };
}
