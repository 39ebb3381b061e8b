/** The audit log: who did what, as it happens, and what it changed. */
import { type AuditEntry, AuditEntry as Codec, Role } from "@slimfast/proto";
import { useState } from "react";
import { controller } from "../live/session.js";
import { useStream } from "../live/streams.js";
import { Action } from "../ui/action.js";
import { Time } from "../ui/clock.js";
import { actionsColumn, monoColumn, textColumn, timeColumn } from "../ui/columns.js";
import { Dialog } from "../ui/dialog.js";
import { Exports } from "../ui/exports.js";
import { Choice, hasWords, TextFilter } from "../ui/filters.js";
import { useRefusal } from "../ui/identity.js";
import { Table } from "../ui/table.js";
import { useUrlState } from "../ui/url.js";

const KEPT = 1_000;

const EXPORTED = [
  { name: "sequence", text: ({ sequence }: AuditEntry) => String(sequence) },
  { name: "time", text: ({ time }: AuditEntry) => time?.toISOString() ?? "" },
  { name: "actor", text: ({ actor }: AuditEntry) => actor },
  { name: "action", text: ({ action }: AuditEntry) => action },
  { name: "resource", text: ({ resource }: AuditEntry) => resource },
  { name: "code", text: ({ code }: AuditEntry) => code },
  { name: "message", text: ({ message }: AuditEntry) => message },
  { name: "peer", text: ({ peer }: AuditEntry) => peer },
];

export function AuditPage() {
  const refusal = useRefusal(Role.ROLE_ADMIN);
  return (
    <>
      <div className="row head">
        <h1 className="grow">Audit log</h1>
      </div>
      {refusal === null ? <Log /> : <p className="panel empty">The audit log is not shown: {refusal}.</p>}
    </>
  );
}

function Log() {
  const [entries, setEntries] = useState<readonly AuditEntry[] | null>(null);
  const [text, setText] = useUrlState("q");
  const [outcome, setOutcome] = useUrlState("outcome");
  const [openId, setOpenId] = useUrlState("id");
  const add = (more: readonly AuditEntry[]): void =>
    setEntries((old) => {
      const known = new Set(old?.map(({ sequence }) => sequence));
      const fresh = more.filter(({ sequence }) => !known.has(sequence));
      return [...fresh, ...(old ?? [])].sort((a, b) => (a.sequence < b.sequence ? 1 : -1)).slice(0, KEPT);
    });
  useStream("", {
    name: "audit log",
    // Entries may be far between: that it is there is seen by the other streams.
    silenceMs: 2_147_483_647,
    open: async function* (signal) {
      const { entries: known } = await controller.access.listAuditEntries({ pageSize: KEPT }, { signal });
      yield { entries: known };
      yield* controller.access.watchAuditEntries({}, { signal });
    },
    onMessage: ({ entries: more }) => add(more),
  });
  const shown = (entries ?? []).filter(
    (each) =>
      (outcome === "" || (outcome === "done") === (each.code === "OK")) &&
      hasWords(text, `${each.actor} ${each.action} ${each.resource} ${each.code} ${each.peer}`),
  );
  const open = shown.find(({ sequence }) => String(sequence) === openId);
  return (
    <section className="panel">
      <div className="row tools">
        <TextFilter
          isMain
          label="Filter"
          placeholder="actor, action, resource   /"
          size={26}
          value={text}
          onChange={setText}
        />
        <Choice label="Outcome" value={outcome} options={["done", "refused"]} onChange={setOutcome} />
        <span className="grow" />
        <Exports name="audit-log" items={shown} columns={EXPORTED} toJson={(each) => Codec.toJSON(each)} />
      </div>
      <Table<AuditEntry>
        label="Audit entries"
        items={shown}
        keyOf={({ sequence }) => String(sequence)}
        empty={entries ? "No entry fits this filter." : "Loading …"}
        columns={[
          timeColumn("When", ({ time }) => time),
          textColumn("Actor", ({ actor }) => actor),
          monoColumn("Action", ({ action }) => action),
          textColumn("Resource", ({ resource }) => resource),
          {
            title: "Outcome",
            cell: ({ code, message }) => (
              <span className={`badge ${code === "OK" ? "ok" : "bad"}`} title={message}>
                {code === "OK" ? "done" : code}
              </span>
            ),
            sortBy: ({ code }) => code,
          },
          monoColumn("From", ({ peer }) => peer),
          actionsColumn(({ sequence, action }) => (
            <Action kind="quiet" label={`Show ${action} (${sequence})`} onClick={() => setOpenId(String(sequence))}>
              Show
            </Action>
          )),
        ]}
      />
      {open ? <Entry entry={open} onClose={() => setOpenId("")} /> : null}
    </section>
  );
}

function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

function Entry({ entry, onClose }: { readonly entry: AuditEntry; readonly onClose: () => void }) {
  return (
    <Dialog title={`${entry.action}`} kind="drawer" onClose={onClose}>
      <dl className="facts">
        <div>
          <dt>When</dt>
          <dd>
            <Time at={entry.time} isExact />
          </dd>
        </div>
        <div>
          <dt>Actor</dt>
          <dd>
            {entry.actor} <span className="dim mono">from {entry.peer}</span>
          </dd>
        </div>
        <div>
          <dt>Resource</dt>
          <dd>{entry.resource || "–"}</dd>
        </div>
        <div>
          <dt>Outcome</dt>
          <dd>
            <span className={`badge ${entry.code === "OK" ? "ok" : "bad"}`}>{entry.code}</span> {entry.message}
          </dd>
        </div>
      </dl>
      <h3>Before</h3>
      <pre className="json">{entry.before === "" ? "nothing" : pretty(entry.before)}</pre>
      <h3>After</h3>
      <pre className="json">{entry.after === "" ? "nothing" : pretty(entry.after)}</pre>
    </Dialog>
  );
}
