/** The command palette: pages, actions, and every node, network, endpoint, policy and reservation by its name. */
import { useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import type { Resources } from "../live/resource-table.js";
import { useResources } from "../live/resources.js";
import { logOut } from "../live/session.js";
import { Dialog } from "./dialog.js";
import { hasWords } from "./filters.js";
import { PAGES } from "./pages.js";

interface Command {
  readonly title: string;
  readonly kind: string;
  readonly run: () => void;
}

const SHOWN = 12;

type Go = (to: string, search?: Readonly<Record<string, string>>) => void;

function placesOf({ nodes, networks, endpoints, policies, reservations }: Resources, go: Go): Command[] {
  return [
    ...nodes.map(({ name }) => ({ title: name, kind: "node", run: () => go("/nodes", { q: name }) })),
    ...networks.map(({ name }) => ({ title: name, kind: "network", run: () => go("/networks", { q: name }) })),
    ...endpoints.map(({ name, address }) => ({
      title: `${name} ${address}`,
      kind: "endpoint",
      run: () => go("/endpoints", { q: name }),
    })),
    ...policies.map(({ network, name }) => ({
      title: `${network}/${name}`,
      kind: "policy",
      run: () => go("/policies", { q: name }),
    })),
    ...reservations
      .filter(({ name }) => name !== "")
      .map(({ name }) => ({ title: name, kind: "reservation", run: () => go("/ports", { q: name }) })),
  ];
}

export function Palette({ onClose, toggleTheme }: { readonly onClose: () => void; readonly toggleTheme: () => void }) {
  const navigate = useNavigate();
  const resources = useResources();
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const commands = useMemo((): Command[] => {
    const go: Go = (to, search = {}) => void navigate({ to, search: search as never });
    return [
      ...PAGES.map(({ path, title }) => ({ title: `Go to ${title}`, kind: "page", run: () => go(path) })),
      { title: "Reserve ports", kind: "action", run: () => go("/ports", { form: "new" }) },
      { title: "Create network", kind: "action", run: () => go("/networks", { form: "new" }) },
      { title: "Create policy", kind: "action", run: () => go("/policies", { form: "new" }) },
      { title: "Add node", kind: "action", run: () => go("/nodes", { form: "new" }) },
      { title: "Create token", kind: "action", run: () => go("/tokens", { form: "new" }) },
      { title: "Show denied connections", kind: "action", run: () => go("/connections", { verdict: "denied" }) },
      { title: "Switch between dark and light", kind: "action", run: toggleTheme },
      { title: "Log out", kind: "action", run: () => void logOut() },
      ...placesOf(resources, go),
    ];
  }, [navigate, resources, toggleTheme]);
  const found = commands.filter(({ title, kind }) => hasWords(text, `${kind} ${title}`)).slice(0, SHOWN);
  const index = Math.min(chosen, Math.max(0, found.length - 1));
  const run = (command: Command | undefined): void => {
    if (!command) return;
    onClose();
    command.run();
  };
  return (
    <Dialog title="Commands" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          run(found[index]);
        }}
      >
        <input
          className="wide"
          role="combobox"
          aria-label="What to do"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-activedescendant={found.length > 0 ? `palette-${index}` : undefined}
          placeholder="A page, an action, or the name of something"
          autoComplete="off"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setChosen(0);
          }}
          onKeyDown={(event) => {
            const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
            if (step === undefined) return;
            event.preventDefault();
            setChosen((index + step + found.length) % Math.max(1, found.length));
          }}
        />
      </form>
      <div className="palette" role="listbox" id="palette-list" aria-label="Commands">
        {found.map((command, position) => (
          <button
            key={`${command.kind} ${command.title}`}
            id={`palette-${position}`}
            type="button"
            role="option"
            tabIndex={-1}
            aria-selected={position === index}
            onClick={() => run(command)}
          >
            <span className="grow">{command.title}</span>
            <span className="dim">{command.kind}</span>
          </button>
        ))}
      </div>
      {found.length === 0 ? <p className="empty">Nothing has all these words in its name.</p> : null}
      <p className="dim hint">↑ ↓ choose, Enter runs, Esc closes</p>
    </Dialog>
  );
}
