/** AccessService and EnrollmentService: messages in, tokens, certificates and the audit log, messages out. */
import * as proto from "@slimfast/proto";
import { z } from "zod";
import { auditFeed } from "../audit/audit-feed.js";
import { auditSequence } from "../audit/audit-log.js";
import { tokenMessage } from "../audit/resource-json.js";
import { messageType } from "../domain/descriptors.js";
import { filterOf } from "../domain/filter/filter.js";
import type { AuditEntry, Role, Token } from "../domain/resources.js";
import { ClusterError, invalidField } from "../errors.js";
import { CONTROLLER_VERSION } from "../installation.js";
import type { PlannedAuthority } from "../security/authorities.js";
import { currentCall } from "../security/call-context.js";
import type { ClusterAuthority } from "../security/cluster-authority.js";
import type { Enrollment } from "../security/enrollment.js";
import { actorOf, type Identity, ROLE_MESSAGES, roleOf, scopeOf } from "../security/identity.js";
import { joinSecret } from "../security/token-secret.js";
import type { Tokens } from "../security/tokens.js";
import { expireTimeOf } from "../security/x509.js";
import type { Store } from "../store/store.js";
import { listPage, NAME_KEY } from "./paging.js";

export interface AccessServiceParts {
  readonly store: Store;
  readonly tokens: Tokens;
  readonly enrollment: Enrollment;
  readonly authority: () => Promise<ClusterAuthority>;
  /** HOST:PORT of the controllers, over TLS. */
  readonly controllers: () => readonly string[];
}

const AUDIT_KEY = z.strictObject({ key: z.string().max(200) });

function roleFrom(message: proto.Role): Role | undefined {
  return (Object.keys(ROLE_MESSAGES) as Role[]).find((role) => ROLE_MESSAGES[role] === message);
}

function callerIdentity(): Identity {
  const call = currentCall();
  if (!call) throw new Error("the access middleware is missing");
  return call.identity;
}

function entryMessage(entry: AuditEntry): proto.AuditEntry {
  const { timeMs, actor, action, resource, code, message, before, after, peer } = entry;
  const sequence = auditSequence(entry);
  return { sequence, time: new Date(timeMs), actor, action, resource, code, message, before, after, peer };
}

function whoAmI(identity: Identity): Partial<proto.WhoAmIResponse> {
  const role = roleOf(identity);
  return {
    actor: actorOf(identity),
    role: role ? ROLE_MESSAGES[role] : proto.Role.ROLE_UNSPECIFIED,
    networks: [...(scopeOf(identity) ?? [])],
    controllerVersion: CONTROLLER_VERSION,
    ...("expireTimeMs" in identity && identity.expireTimeMs !== undefined
      ? { expireTime: new Date(identity.expireTimeMs) }
      : {}),
  };
}

/** Milliseconds of a duration, which may be out of every range. */
function millisecondsOf(duration: { seconds: bigint; nanos: number } | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1_000 + duration.nanos / 1e6;
}

function authorityMessage(one: PlannedAuthority, isSigning: boolean, nowMs: number): proto.Authority {
  const { name, certificate, fingerprint, createTimeMs, signsFromMs, trustedUntilMs } = one;
  const isFormer = signsFromMs <= nowMs;
  const {
    AUTHORITY_STATE_SIGNING: signing,
    AUTHORITY_STATE_FORMER: former,
    AUTHORITY_STATE_NEXT: next,
  } = proto.AuthorityState;
  return {
    ...{ name, certificate, fingerprint },
    state: isSigning ? signing : isFormer ? former : next,
    createTime: new Date(createTimeMs),
    signTime: new Date(signsFromMs),
    retireTime: trustedUntilMs === undefined ? undefined : new Date(trustedUntilMs),
    expireTime: new Date(expireTimeOf(certificate)),
  };
}

export function accessService(parts: AccessServiceParts): proto.AccessServiceImplementation {
  const { store, tokens, enrollment, authority, controllers } = parts;
  const auditType = messageType("AuditEntry");
  const wantedEntries = (filter: string) => filterOf<proto.AuditEntry>(auditType, filter);

  return {
    async whoAmI() {
      return whoAmI(callerIdentity());
    },

    async createToken({ token: wanted, lifetime }) {
      if (!wanted) throw invalidField("token", "must be set");
      const { name, role, networks, description, usesLeft } = wanted;
      const lifetimeMs = millisecondsOf(lifetime);
      const made = await tokens.create({ name, role: roleFrom(role), networks, description, usesLeft, lifetimeMs });
      const isJoin = made.token.role === "join";
      return {
        token: tokenMessage(made.token),
        secret: isJoin ? joinSecret(made.secret, (await authority()).fingerprint) : made.secret,
        controllers: isJoin ? [...controllers()] : [],
      };
    },

    async listTokens({ pageSize, pageToken }) {
      const { messages, nextPageToken } = listPage(
        { pageSize, pageToken, filter: "" },
        {
          type: "Token",
          scope: [],
          key: NAME_KEY,
          keyOf: ({ name }: Token) => ({ name }),
          read: (after, limit) => store.listTokens({ limit, ...(after ? { after: after.name } : {}) }),
          message: tokenMessage,
        },
      );
      return { tokens: messages, nextPageToken };
    },

    async revokeToken({ name }) {
      await tokens.revoke(name);
      return {};
    },

    async revokeNodeCertificates({ node }) {
      await enrollment.revoke(node);
      return {};
    },

    async listAuthorities() {
      const nowMs = Date.now();
      const { trusted } = await authority();
      return { authorities: trusted.map((one, index) => authorityMessage(one, index === 0, nowMs)) };
    },

    async rotateAuthority() {
      const made = await (await authority()).rotate();
      return { authority: authorityMessage(made, false, Date.now()) };
    },

    async listAuditEntries(request) {
      const { messages, nextPageToken } = listPage(request, {
        type: "AuditEntry",
        scope: [],
        key: AUDIT_KEY,
        keyOf: ({ key }: AuditEntry) => ({ key }),
        read: (after, limit) => store.listAuditEntries({ limit, ...(after ? { after: after.key } : {}) }),
        message: entryMessage,
      });
      return { entries: messages, nextPageToken };
    },

    async *watchAuditEntries({ filter }, { signal }) {
      const isWanted = wantedEntries(filter);
      for await (const entries of auditFeed(store, (entry) => isWanted(entryMessage(entry)), signal)) {
        yield { entries: entries.map(entryMessage) };
      }
    },
  };
}

export function enrollmentService(enrollment: Enrollment): proto.EnrollmentServiceImplementation {
  return {
    async enrollNode({ node, joinToken, certificateRequest }) {
      return enrollment.enroll(node, joinToken, certificateRequest);
    },
  };
}

/** The method of AgentService by which a node renews its certificate. */
export function renewCertificate(enrollment: Enrollment) {
  return async ({ certificateRequest }: proto.RenewCertificateRequest): Promise<proto.RenewCertificateResponse> => {
    const identity = callerIdentity();
    if (identity.kind !== "node") throw new ClusterError("failed_precondition", "the caller is no node");
    return enrollment.renew(identity.name, certificateRequest);
  };
}
