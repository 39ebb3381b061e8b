/** What a policy would do to the connections of now and of late, before it is applied. */
import { type TryPolicyRequest, type TryPolicyResponse, Verdict } from "@slimfast/proto";
import { useEffect, useState } from "react";
import { controller, messageOf } from "../../live/session.js";
import { Action, Cli } from "../../ui/action.js";
import { tryDeletion, type WantedPolicy, writePolicy } from "../../ui/commands.js";
import { address, count, duration } from "../../ui/format.js";

type Outcome = TryPolicyResponse | string | null;

const SHOWN = 8;

async function outcomeOf(ask: () => Partial<TryPolicyRequest>): Promise<Outcome> {
  try {
    return (await controller.operations.tryPolicy(ask())) as TryPolicyResponse;
  } catch (error) {
    return messageOf(error);
  }
}

/** @param policyOf May throw what is wrong with it. */
export function Trial({ policyOf }: { readonly policyOf: () => WantedPolicy }) {
  const [outcome, setOutcome] = useState<Outcome>(null);
  const [command, setCommand] = useState("");
  const run = async (): Promise<void> => {
    setOutcome(
      await outcomeOf(() => {
        const policy = policyOf();
        setCommand(writePolicy("try", policy));
        return { policy: policy as never };
      }),
    );
  };
  return (
    <div className="trial">
      <Action onClick={() => void run()}>Try against the last connections</Action>
      <Effects outcome={outcome} command={command} />
    </div>
  );
}

/** What would be without the policy. */
export function TrialOfDeletion({ network, name }: { readonly network: string; readonly name: string }) {
  const [outcome, setOutcome] = useState<Outcome>(null);
  useEffect(() => {
    void outcomeOf(() => ({ policy: { network, name } as never, deleted: true })).then(setOutcome);
  }, [network, name]);
  return outcome === null ? (
    <p className="dim">Trying …</p>
  ) : (
    <Effects outcome={outcome} command={tryDeletion(network, name)} />
  );
}

function Effects({ outcome, command }: { readonly outcome: Outcome; readonly command: string }) {
  if (outcome === null) return null;
  if (typeof outcome === "string") {
    return (
      <p className="alert" role="alert">
        {outcome}
      </p>
    );
  }
  const { tried, newlyDenied, newlyAllowed, effects, window } = outcome;
  return (
    <section aria-label="Trial" role="status">
      <p>
        Of {count(tried)} connections{window ? ` of the last ${duration(Number(window.seconds) * 1_000)}` : ""}, live
        ones included,{" "}
        <strong className={newlyDenied > 0 ? "bad" : undefined}>{count(newlyDenied)} would be denied</strong> that are
        not now, and <strong className={newlyAllowed > 0 ? "ok" : undefined}>{count(newlyAllowed)} allowed</strong>.
        {newlyDenied > 0 ? " Live ones among them are cut." : ""}
      </p>
      <ul className="effects">
        {effects.slice(0, SHOWN).map(({ connection: record, after }) => (
          <li key={record?.id}>
            <span className={`badge ${after === Verdict.VERDICT_DENIED ? "bad" : "ok"}`}>
              {after === Verdict.VERDICT_DENIED ? "denied" : "allowed"}
            </span>{" "}
            {record?.connection?.endpoint} {record?.connection?.direction === 2 ? "←" : "→"}{" "}
            {record?.connection?.peerEndpoint} <span className="dim mono">{address(record?.connection?.peer)}</span>
          </li>
        ))}
      </ul>
      {effects.length > SHOWN ? <p className="dim">… and {count(newlyDenied + newlyAllowed - SHOWN)} more</p> : null}
      <Cli command={command} title="The trial by command line" mark="cli-trial" />
    </section>
  );
}
