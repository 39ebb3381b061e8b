/** The audit log: who did what, as it happens. */
import { type AuditEntry, Role } from "@slimfast/proto";
import { useState } from "react";
import { controller } from "../live/session.js";
import { useStream } from "../live/streams.js";
import { useRefusal } from "../ui/identity.js";
import { Table, Time, useUrlState } from "../ui/parts.js";

const SHOWN = 500;

export function AuditPage() {
  const refusal = useRefusal(Role.ROLE_ADMIN);
  return (
    <>
      <h1>Audit log</h1>
      {refusal === null ? <Log /> : <p className="panel">The audit log {refusal}.</p>}
    </>
  );
}

function Log() {
  const [entries, setEntries] = useState<readonly AuditEntry[]>([]);
  const [text, setText] = useUrlState("q");
  const add = (more: readonly AuditEntry[]): void =>
    setEntries((old) => {
      const known = new Set(old.map(({ sequence }) => sequence));
      const fresh = more.filter(({ sequence }) => !known.has(sequence));
      return [...fresh, ...old].sort((a, b) => (a.sequence < b.sequence ? 1 : -1)).slice(0, SHOWN);
    });
  useStream(
    "audit",
    "",
    async function* (signal) {
      const { entries: known } = await controller.access.listAuditEntries({ pageSize: SHOWN }, { signal });
      yield { entries: known };
      yield* controller.access.watchAuditEntries({}, { signal });
    },
    ({ entries: more }) => add(more),
  );
  return (
    <section className="panel">
      <input
        data-filter
        aria-label="Filter"
        placeholder="actor, action, resource ( / )"
        value={text}
        onChange={(e) => setText(e.target.value)}
      />
      <Table
        label="Audit entries"
        items={entries.filter((each) => `${each.actor} ${each.action} ${each.resource} ${each.code}`.includes(text))}
        keyOf={({ sequence }) => String(sequence)}
        empty="Nothing was done yet that fits this filter."
        columns={[
          { title: "When", cell: ({ time }) => <Time at={time} /> },
          { title: "Actor", cell: ({ actor }) => actor, sortBy: ({ actor }) => actor },
          { title: "Action", cell: ({ action }) => action, sortBy: ({ action }) => action },
          { title: "Resource", cell: ({ resource }) => resource, sortBy: ({ resource }) => resource },
          {
            title: "Outcome",
            cell: ({ code, message }) => (
              <span className={code === "OK" ? "ok" : "bad"} title={message}>
                {code}
              </span>
            ),
          },
          { title: "From", cell: ({ peer }) => <span className="mono">{peer}</span> },
        ]}
      />
    </section>
  );
}
