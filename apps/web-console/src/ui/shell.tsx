/** What surrounds every page: navigation, the sign of the streams, theme, keyboard, command palette. */
import { Link, Outlet, useNavigate } from "@tanstack/react-router";
import { useContext, useState } from "react";
import { roleName } from "../live/roles.js";
import { logOut } from "../live/session.js";
import { retryNow, type StreamEntry, useStreamStates } from "../live/streams.js";
import { Time } from "./clock.js";
import { Dialog } from "./dialog.js";
import { IdentityContext } from "./identity.js";
import { useKeyboard } from "./keyboard.js";
import { GROUPS, PAGES } from "./pages.js";
import { Palette } from "./palette.js";
import { useTheme } from "./theme.js";
import { Toasts } from "./toasts.js";

function StreamSign({ states }: { readonly states: readonly StreamEntry[] }) {
  const has = (wanted: string): boolean => states.some(({ state }) => state === wanted);
  const [text, style] = has("lost")
    ? ["lost", "bad"]
    : has("behind")
      ? ["behind", "warn"]
      : has("connecting")
        ? ["connecting", "dim"]
        : ["live", "ok"];
  return (
    <span
      className={`sign ${style}`}
      role="status"
      data-testid="stream-state"
      title={states.map(({ name, state }) => `${name}: ${state}`).join("\n")}
    >
      <span className="dot" aria-hidden="true" />
      {text}
    </span>
  );
}

/** What is shown may be old: says so, why, and since when. */
function StreamBanner({ states }: { readonly states: readonly StreamEntry[] }) {
  const lost = states.find(({ state }) => state === "lost");
  const behind = states.find(({ state }) => state === "behind");
  if (lost) {
    return (
      <div className="banner bad" role="alert">
        <span className="grow">
          <strong>The stream of {lost.name} is lost</strong> (<Time at={lost.since} />
          ): {lost.reason}. What you see may be old; it is tried again.
        </span>
        <button type="button" onClick={retryNow}>
          Try now
        </button>
      </div>
    );
  }
  if (!behind) return null;
  return (
    <div className="banner warn" role="status">
      <strong>Behind:</strong> {behind.reason}. Narrow what is watched if this goes on.
    </div>
  );
}

function Icon({ path }: { readonly path: string }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}

export function Shell() {
  const identity = useContext(IdentityContext);
  const navigate = useNavigate();
  const states = useStreamStates();
  const [theme, toggleTheme] = useTheme();
  const [open, setOpen] = useState<"help" | "palette" | null>(null);
  useKeyboard({
    goTo: (path) => void navigate({ to: path }),
    showHelp: () => setOpen("help"),
    showPalette: () => setOpen("palette"),
  });
  return (
    <div className="app">
      <header className="top">
        <a className="skip" href="#content">
          Skip to the content
        </a>
        <span className="brand">
          <svg className="logo" viewBox="0 0 24 24" aria-hidden="true">
            <path d="M3 7h12l-4-4M21 17H9l4 4M8 12h8" />
          </svg>
          SlimFast
        </span>
        <StreamSign states={states} />
        <span className="grow" />
        <button type="button" className="quiet" aria-label="Commands" onClick={() => setOpen("palette")}>
          <span className="hide-narrow">Search and commands </span>
          <kbd>Ctrl K</kbd>
        </button>
        <button type="button" className="quiet hide-narrow" aria-label="Keyboard" onClick={() => setOpen("help")}>
          <kbd>?</kbd>
        </button>
        <button
          type="button"
          className="quiet"
          aria-label={theme === "dark" ? "Light theme" : "Dark theme"}
          onClick={toggleTheme}
        >
          {theme === "dark" ? "☀" : "☾"}
        </button>
        <span
          className="who hide-narrow"
          title={identity?.networks.length ? `networks: ${identity.networks.join(", ")}` : undefined}
        >
          {identity?.actor.replace(/^token\//, "")} <span className="badge">{roleName(identity?.role ?? 0)}</span>
        </span>
        <button type="button" className="quiet" onClick={() => void logOut()}>
          Log out
        </button>
      </header>
      <nav className="main" aria-label="Pages">
        {GROUPS.map(({ title, pages }) => (
          <div key={title} className="nav-group">
            <div className="nav-title">{title}</div>
            <ul>
              {pages.map(({ path, title: name, icon }) => (
                <li key={path}>
                  <Link to={path} activeOptions={{ exact: path === "/", includeSearch: false }}>
                    <Icon path={icon} />
                    {name}
                  </Link>
                </li>
              ))}
            </ul>
          </div>
        ))}
      </nav>
      <main id="content" tabIndex={-1}>
        <StreamBanner states={states} />
        <Outlet />
      </main>
      <Toasts />
      {open === "help" ? <KeyboardHelp onClose={() => setOpen(null)} /> : null}
      {open === "palette" ? <Palette onClose={() => setOpen(null)} toggleTheme={toggleTheme} /> : null}
    </div>
  );
}

function KeyboardHelp({ onClose }: { readonly onClose: () => void }) {
  const keys: readonly [string, string][] = [
    ["/", "filter of this page"],
    ["Ctrl K", "search and commands"],
    ["?", "this list"],
    ["Esc", "leaves a filter, closes a dialog"],
    ...PAGES.map(({ key, title }): [string, string] => [`g ${key}`, title]),
  ];
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl className="facts">
        {keys.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              {key.split(" ").map((each) => (
                <kbd key={each}>{each}</kbd>
              ))}
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
