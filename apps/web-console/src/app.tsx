/** Who is logged in, and the pages by path. Pages are loaded when they are first shown. */

import type { WhoAmIResponse } from "@slimfast/proto";
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, RouterProvider } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { keepSession, messageOf, whoAmI } from "./live/session.js";
import { LoginPage } from "./pages/login.js";
import { IdentityContext } from "./ui/identity.js";
import { Shell } from "./ui/shell.js";
import { applyTheme } from "./ui/theme.js";
import { parseSearch, stringifySearch } from "./ui/url.js";

applyTheme();

const root = createRootRoute({
  component: Shell,
  validateSearch: (search: Record<string, unknown>) => search,
  notFoundComponent: () => <p className="panel empty">There is no such page. The pages are on the left.</p>,
});

function page(path: string, component: ReturnType<typeof lazyRouteComponent>) {
  return createRoute({ getParentRoute: () => root, path, component, errorComponent: PageFailure });
}

const routeTree = root.addChildren([
  page(
    "/",
    lazyRouteComponent(() => import("./pages/overview/page.js"), "OverviewPage"),
  ),
  page(
    "/ports",
    lazyRouteComponent(() => import("./pages/ports/page.js"), "PortsPage"),
  ),
  page(
    "/connections",
    lazyRouteComponent(() => import("./pages/connections/page.js"), "ConnectionsPage"),
  ),
  page(
    "/map",
    lazyRouteComponent(() => import("./pages/map/page.js"), "MapPage"),
  ),
  page(
    "/nodes",
    lazyRouteComponent(() => import("./pages/nodes.js"), "NodesPage"),
  ),
  page(
    "/networks",
    lazyRouteComponent(() => import("./pages/networks.js"), "NetworksPage"),
  ),
  page(
    "/endpoints",
    lazyRouteComponent(() => import("./pages/endpoints.js"), "EndpointsPage"),
  ),
  page(
    "/policies",
    lazyRouteComponent(() => import("./pages/policies/page.js"), "PoliciesPage"),
  ),
  page(
    "/audit",
    lazyRouteComponent(() => import("./pages/audit.js"), "AuditPage"),
  ),
  page(
    "/tokens",
    lazyRouteComponent(() => import("./pages/tokens.js"), "TokensPage"),
  ),
]);
const router = createRouter({ routeTree, parseSearch, stringifySearch });
/** Often enough that an idle look at a stream keeps its session. */
const KEEP_SESSION_MS = 300_000;

function PageFailure({ error }: { readonly error: unknown }) {
  return (
    <section className="panel">
      <h1>This page cannot be shown</h1>
      <p className="alert">{messageOf(error)}</p>
      <p>If the controller was upgraded meanwhile, the page is of the old version: load it anew.</p>
      <button type="button" onClick={() => location.reload()}>
        Load anew
      </button>
    </section>
  );
}

export function App() {
  const [who, setWho] = useState<WhoAmIResponse | null | undefined>();
  const [failure, setFailure] = useState("");
  useEffect(() => {
    whoAmI().then(setWho, (error: unknown) => setFailure(messageOf(error)));
    const timer = setInterval(() => void keepSession(), KEEP_SESSION_MS);
    return () => clearInterval(timer);
  }, []);
  if (failure !== "") {
    return (
      <main className="panel login">
        <h1>The controller does not answer</h1>
        <p className="alert">{failure}</p>
        <p>
          Is it up? On its machine, ask with <code>slimfast status</code>.
        </p>
        <button type="button" onClick={() => location.reload()}>
          Try again
        </button>
      </main>
    );
  }
  if (who === undefined) return <main className="empty">Loading …</main>;
  if (who === null) return <LoginPage />;
  return (
    <IdentityContext value={who}>
      <RouterProvider router={router} />
    </IdentityContext>
  );
}
