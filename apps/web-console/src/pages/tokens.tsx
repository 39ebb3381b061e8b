/** Tokens: make, show once, revoke. The audit log's stream says when the list has changed. */
import { Token as Codec, Role, type Token } from "@slimfast/proto";
import { useState } from "react";
import { roleName } from "../live/roles.js";
import { controller } from "../live/session.js";
import { useStream } from "../live/streams.js";
import { Action, Cli } from "../ui/action.js";
import { Time } from "../ui/clock.js";
import { actionsColumn, descriptionColumn, nameColumn, textColumn, timeColumn } from "../ui/columns.js";
import { createToken, revokeToken } from "../ui/commands.js";
import { Confirm, Dialog } from "../ui/dialog.js";
import { FormDialog, type Values } from "../ui/fields.js";
import { hasWords } from "../ui/filters.js";
import { parseLease } from "../ui/format.js";
import { useRefusal } from "../ui/identity.js";
import { listOf } from "../ui/labels.js";
import { Listing } from "../ui/listing.js";
import { attempt } from "../ui/toasts.js";
import { useUrlState } from "../ui/url.js";

const ROLES = ["viewer", "operator", "admin", "join"];
const LISTED = 1_000;

const EXPORTED = [
  { name: "name", text: ({ name }: Token) => name },
  { name: "role", text: ({ role }: Token) => roleName(role) },
  { name: "networks", text: ({ networks }: Token) => networks.join(" ") },
  { name: "expire_time", text: ({ expireTime }: Token) => expireTime?.toISOString() ?? "" },
  { name: "last_use_time", text: ({ lastUseTime }: Token) => lastUseTime?.toISOString() ?? "" },
  { name: "description", text: ({ description }: Token) => description },
];

export function TokensPage() {
  const refusal = useRefusal(Role.ROLE_ADMIN);
  return (
    <>
      {refusal === null ? (
        <Tokens />
      ) : (
        <>
          <div className="row head">
            <h1 className="grow">Tokens</h1>
          </div>
          <p className="panel empty">Tokens are not shown: {refusal}.</p>
        </>
      )}
    </>
  );
}

async function make(values: Values): Promise<string> {
  const { name = "", role = "", lifetime = "", networks = "", description = "" } = values;
  const seconds = parseLease(lifetime);
  if (lifetime !== "" && seconds === undefined) throw new Error("how long it is valid is written 8h or 30d");
  const token = { name, role: (ROLES.indexOf(role) + 1) as Role, description, networks: listOf(networks) };
  const { secret } = await controller.access.createToken({
    token,
    ...(seconds === undefined ? {} : { lifetime: { seconds: BigInt(seconds) } }),
  });
  return secret;
}

function Tokens() {
  const [tokens, setTokens] = useState<readonly Token[] | null>(null);
  const [text, setText] = useUrlState("q");
  const [form, setForm] = useUrlState("form");
  const [secret, setSecret] = useState("");
  const [revoked, setRevoked] = useState<Token | null>(null);
  useStream("", {
    name: "tokens",
    silenceMs: 2_147_483_647,
    open: async function* (signal) {
      const list = async () => (await controller.access.listTokens({ pageSize: LISTED }, { signal })).tokens;
      const changes = controller.access.watchAuditEntries({ filter: 'action = "AccessService/*"' }, { signal });
      yield await list();
      for await (const _ of changes) yield await list();
    },
    onMessage: setTokens,
  });
  const shown = (tokens ?? []).filter(({ name, role, description }) =>
    hasWords(text, `${name} ${roleName(role)} ${description}`),
  );
  return (
    <>
      <Listing<Token>
        title="Tokens"
        noun="token"
        create={{ verb: "Create token", refusal: null, onClick: () => setForm("new") }}
        filter={{ fields: "name, role", value: text, onChange: setText }}
        shown={shown}
        total={tokens?.length ?? 0}
        isComplete={tokens !== null}
        hint="Create one above."
        keyOf={({ name }) => name}
        file={{ name: "tokens", columns: EXPORTED, toJson: (each) => Codec.toJSON(each) }}
        columns={[
          nameColumn(),
          {
            title: "Role",
            cell: ({ role }) => (
              <span className={`badge ${role === Role.ROLE_ADMIN ? "warn" : "dim"}`}>{roleName(role)}</span>
            ),
            sortBy: ({ role }) => role,
          },
          textColumn("Networks", ({ networks }) => networks.join(", ") || "all"),
          timeColumn("Ends", ({ expireTime }) => expireTime, Number.MAX_VALUE),
          timeColumn("Last used", ({ lastUseTime }) => lastUseTime),
          descriptionColumn("What for"),
          actionsColumn((token) => (
            <Action kind="quiet" label={`Revoke ${token.name}`} onClick={() => setRevoked(token)}>
              Revoke
            </Action>
          )),
        ]}
      />
      {form === "new" ? (
        <FormDialog
          title="Create token"
          verb="Create"
          done="The token is made."
          refusal={null}
          onClose={() => setForm("")}
          fields={[
            { key: "name", title: "Name", isRequired: true },
            { key: "role", title: "Role", value: "viewer", options: ROLES },
            { key: "lifetime", title: "Valid for", hint: "8h, 30d; empty: 90 days, and 1 hour for join" },
            { key: "networks", title: "Networks", hint: "separated by commas; empty: all" },
            { key: "description", title: "What for" },
          ]}
          cli={({ name = "", role = "", lifetime = "", networks = "", description = "" }) =>
            createToken({ name, role, lifetime, networks: listOf(networks), description })
          }
          submit={async (values) => setSecret(await make(values))}
        />
      ) : null}
      {secret === "" ? null : (
        <Dialog title="The token's secret" onClose={() => setSecret("")}>
          <p>It is shown this once: copy it now.</p>
          <Cli command={secret} title="Secret" />
        </Dialog>
      )}
      {revoked ? (
        <Confirm
          title={`Revoke ${revoked.name}?`}
          breaks={
            <>
              <p>Whoever uses it loses access at once, open streams and console sessions included.</p>
              <p>
                It was {revoked.lastUseTime ? "last used " : "never used"}
                {revoked.lastUseTime ? <Time at={revoked.lastUseTime} isExact /> : null}
                {revoked.description === "" ? "." : `, for ${revoked.description}.`}
              </p>
            </>
          }
          verb="Revoke"
          cli={revokeToken(revoked.name)}
          onConfirm={() =>
            attempt(() => controller.access.revokeToken({ name: revoked.name }), `${revoked.name} is revoked.`)
          }
          onClose={() => setRevoked(null)}
        />
      ) : null}
    </>
  );
}
