/** What surrounds every page: navigation, stream sign, theme, keyboard, command palette. */
import { Link, Outlet, useNavigate } from "@tanstack/react-router";
import { useContext, useEffect, useState } from "react";
import { logOut, roleName } from "../live/session.js";
import { useStreamStates } from "../live/streams.js";
import { IdentityContext } from "./identity.js";
import { Dialog, Toasts } from "./parts.js";

const PAGES = [
  { path: "/", title: "Overview", key: "o" },
  { path: "/ports", title: "Port reservations", key: "p" },
  { path: "/connections", title: "Live connections", key: "c" },
  { path: "/map", title: "Map", key: "m" },
  { path: "/nodes", title: "Nodes", key: "n" },
  { path: "/networks", title: "Networks", key: "w" },
  { path: "/endpoints", title: "Endpoints", key: "e" },
  { path: "/policies", title: "Policies", key: "l" },
  { path: "/audit", title: "Audit log", key: "a" },
  { path: "/tokens", title: "Tokens", key: "t" },
] as const;
const THEME_KEY = "slimfast-theme";
const CHORD_MS = 1_200;

function StreamSign() {
  const states = useStreamStates();
  const lost = states.find(({ state }) => state === "lost");
  const behind = states.find(({ state }) => state === "behind");
  const isConnecting = states.some(({ state }) => state === "connecting");
  const [text, style] = lost
    ? [`● lost: ${lost.name}, trying again`, "bad"]
    : behind
      ? [`● behind: ${behind.name}`, "warn"]
      : isConnecting
        ? ["● connecting", "dim"]
        : ["● live", "ok"];
  return (
    <span className={style} role="status" data-testid="stream-state" title={lost?.reason}>
      {text}
    </span>
  );
}

function useTheme(): [string, () => void] {
  const [theme, setTheme] = useState(
    () => localStorage.getItem(THEME_KEY) ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"),
  );
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const toggle = (): void => {
    const next = theme === "dark" ? "light" : "dark";
    localStorage.setItem(THEME_KEY, next);
    setTheme(next);
  };
  return [theme, toggle];
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, dialog") !== null;
}

export function Shell() {
  const identity = useContext(IdentityContext);
  const navigate = useNavigate();
  const [theme, toggleTheme] = useTheme();
  const [open, setOpen] = useState<"help" | "palette" | null>(null);
  useEffect(() => {
    let chordUntil = 0;
    const onKey = (event: KeyboardEvent): void => {
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        setOpen("palette");
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const target = PAGES.find(({ key }) => key === event.key);
      if (Date.now() < chordUntil && target) void navigate({ to: target.path });
      chordUntil = event.key === "g" ? Date.now() + CHORD_MS : 0;
      if (event.key === "?") setOpen("help");
      if (event.key === "/") {
        event.preventDefault();
        document.querySelector<HTMLInputElement>("input[data-filter]")?.focus();
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [navigate]);
  return (
    <div className="app">
      <header className="top">
        <a className="skip" href="#content">
          Skip to the content
        </a>
        <strong>SlimFast</strong>
        <StreamSign />
        <span className="grow" />
        <button type="button" onClick={() => setOpen("palette")}>
          Commands <kbd className="hide-narrow">Ctrl K</kbd>
        </button>
        <button type="button" onClick={toggleTheme}>
          {theme === "dark" ? "Light" : "Dark"}
        </button>
        <span className="dim hide-narrow">
          {identity?.actor} ({roleName(identity?.role ?? 0)})
        </span>
        <button type="button" onClick={() => void logOut()}>
          Log out
        </button>
      </header>
      <nav className="main" aria-label="Pages">
        <ul>
          {PAGES.map(({ path, title }) => (
            <li key={path}>
              <Link to={path} activeOptions={{ exact: path === "/", includeSearch: false }}>
                {title}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <main id="content" tabIndex={-1}>
        <Outlet />
      </main>
      <Toasts />
      {open === "help" ? (
        <Dialog title="Keyboard" onClose={() => setOpen(null)}>
          <dl className="facts">
            <dt>/</dt>
            <dd>filter of this page</dd>
            <dt>Ctrl K</dt>
            <dd>command palette</dd>
            <dt>?</dt>
            <dd>this list</dd>
            {PAGES.map(({ key, title }) => [<dt key={key}>g {key}</dt>, <dd key={title}>{title}</dd>])}
          </dl>
        </Dialog>
      ) : null}
      {open === "palette" ? <Palette onClose={() => setOpen(null)} toggleTheme={toggleTheme} /> : null}
    </div>
  );
}

function Palette({ onClose, toggleTheme }: { readonly onClose: () => void; readonly toggleTheme: () => void }) {
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const commands = [
    ...PAGES.map(({ path, title }) => ({ title: `Go to ${title}`, run: () => void navigate({ to: path }) })),
    { title: "Reserve ports", run: () => void navigate({ to: "/ports", search: { form: "new" } as never }) },
    { title: "Switch between dark and light", run: toggleTheme },
    { title: "Log out", run: () => void logOut() },
  ];
  const found = commands.filter(({ title }) => title.toLowerCase().includes(text.toLowerCase()));
  const run = (command: (typeof commands)[number] | undefined): void => {
    if (!command) return;
    onClose();
    command.run();
  };
  return (
    <Dialog title="Commands" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          run(found[0]);
        }}
      >
        <label className="field">
          <span>What to do (Enter takes the first)</span>
          <input value={text} onChange={(event) => setText(event.target.value)} />
        </label>
      </form>
      <div className="row">
        {found.map((command) => (
          <button key={command.title} type="button" onClick={() => run(command)}>
            {command.title}
          </button>
        ))}
      </div>
    </Dialog>
  );
}
