/** Tokens: make, show once, revoke. */
import { Role, type Token } from "@slimfast/proto";
import { useCallback, useEffect, useState } from "react";
import { controller, messageOf, roleName } from "../live/session.js";
import { FormDialog } from "../ui/fields.js";
import { parseLease } from "../ui/format.js";
import { useRefusal } from "../ui/identity.js";
import { Action, attempt, Confirm, Dialog, say, Table, Time, useUrlState } from "../ui/parts.js";

const ROLES = ["viewer", "operator", "admin", "join"];

export function TokensPage() {
  const refusal = useRefusal(Role.ROLE_ADMIN);
  return (
    <>
      <h1>Tokens</h1>
      {refusal === null ? <Tokens /> : <p className="panel">Managing tokens {refusal}.</p>}
    </>
  );
}

function Tokens() {
  const [tokens, setTokens] = useState<readonly Token[] | null>(null);
  const [form, setForm] = useUrlState("form");
  const [secret, setSecret] = useState("");
  const [revoked, setRevoked] = useState<Token | null>(null);
  const load = useCallback(() => {
    controller.access.listTokens({ pageSize: 1_000 }).then(
      (answer) => setTokens(answer.tokens),
      (error: unknown) => say(messageOf(error), true),
    );
  }, []);
  useEffect(load, [load]);
  return (
    <section className="panel">
      <Action kind="primary" onClick={() => setForm("new")}>
        Create token
      </Action>
      <Table
        label="Tokens"
        items={tokens ?? []}
        keyOf={({ name }) => name}
        empty={tokens ? "No token." : "Loading …"}
        columns={[
          { title: "Name", cell: ({ name }) => name, sortBy: ({ name }) => name },
          { title: "Role", cell: ({ role }) => roleName(role), sortBy: ({ role }) => role },
          { title: "Networks", cell: ({ networks }) => networks.join(", ") || "all" },
          { title: "Ends", cell: ({ expireTime }) => <Time at={expireTime} /> },
          { title: "Last used", cell: ({ lastUseTime }) => <Time at={lastUseTime} /> },
          { title: "For", cell: ({ description }) => description },
          {
            title: "",
            cell: (token) => (
              <Action kind="danger" onClick={() => setRevoked(token)}>
                Revoke
              </Action>
            ),
          },
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
            { key: "lifetime", title: "Valid for (8h, 30d; empty: the default)" },
            { key: "networks", title: "Networks (a, b; empty: all)" },
            { key: "description", title: "What for" },
          ]}
          submit={async ({ name = "", role = "", lifetime = "", networks = "", description = "" }) => {
            const seconds = parseLease(lifetime);
            if (lifetime !== "" && seconds === undefined) throw new Error("write how long as 8h or 30d");
            const token = {
              name,
              role: (ROLES.indexOf(role) + 1) as Role,
              description,
              networks: networks
                .split(",")
                .map((each) => each.trim())
                .filter((each) => each !== ""),
            };
            const answer = await controller.access.createToken({
              token,
              ...(seconds === undefined ? {} : { lifetime: { seconds: BigInt(seconds) } }),
            });
            setSecret(answer.secret);
            load();
          }}
        />
      ) : null}
      {secret === "" ? null : (
        <Dialog title="The token's secret" onClose={() => setSecret("")}>
          <p>It is shown this once. Copy it now.</p>
          <code className="cli">{secret}</code>
        </Dialog>
      )}
      {revoked ? (
        <Confirm
          title={`Revoke ${revoked.name}?`}
          breaks="Whoever uses it loses access at once, open streams included."
          verb="Revoke"
          onConfirm={() =>
            void attempt(
              () => controller.access.revokeToken({ name: revoked.name }),
              `${revoked.name} is revoked.`,
            ).then(load)
          }
          onClose={() => setRevoked(null)}
        />
      ) : null}
    </section>
  );
}
