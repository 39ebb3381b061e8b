/**
 * The console of a cluster's own, in Debian's chromium: real controller, real agents on two nodes, nginx and curl. One
 * cluster and one browser serve all tests of a file; each test has a page and cookies of its own.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "@playwright/test";
import { expect } from "vitest";
import { nginx } from "../apps/nginx.js";
import type { Background } from "../fixture/background.js";
import { Cluster } from "../fixture/cluster.js";

/** Of what takes as long to download as a test wants. */
const LARGE_BYTES = 32 * 1_024 * 1_024;

export type RoleName = "viewer" | "operator" | "admin";

export const PAGES = [
  ["", "Overview"],
  ["ports", "Port reservations"],
  ["connections", "Live connections"],
  ["map", "Map"],
  ["nodes", "Nodes"],
  ["networks", "Networks"],
  ["endpoints", "Endpoints"],
  ["policies", "Policies"],
  ["audit", "Audit log"],
  ["tokens", "Tokens"],
] as const;

const WIDE = { width: 1280, height: 800 };
/** Long, because it is reached only when a test fails. */
const TIMEOUT_MS = 30_000;

export class Site {
  readonly cluster: Cluster;
  readonly url: string;
  readonly #browser: Browser;
  readonly #directory: string;
  readonly #tokens: Record<RoleName, string>;
  readonly #contexts: BrowserContext[] = [];
  /** What the pages of this test asked for beyond their own origin, and errors that they did not expect. */
  readonly #strange: string[] = [];
  #named = 0;
  /** nginx on node-2, port 80. */
  readonly web: Background;

  private constructor(parts: {
    cluster: Cluster;
    url: string;
    browser: Browser;
    directory: string;
    tokens: Record<RoleName, string>;
    web: Background;
  }) {
    this.cluster = parts.cluster;
    this.url = parts.url;
    this.#browser = parts.browser;
    this.#directory = parts.directory;
    this.#tokens = parts.tokens;
    this.web = parts.web;
  }

  static async open({ nodes = 2 }: { readonly nodes?: number } = {}): Promise<Site> {
    // With TLS, so that machines can join it.
    const cluster = await Cluster.start({ nodes, tls: true });
    const directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-console-"));
    writeFileSync(join(directory, "large"), Buffer.alloc(LARGE_BYTES));
    const http = `server { listen 80; root ${directory}; location = / { return 200 "hello\\n"; }
      location = /slow { limit_rate 1k; alias ${directory}/large; } }`;
    const [browser, { url, token: admin }, viewer, operator, web] = await Promise.all([
      chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] }),
      cluster.cli.json<{ url: string; token: string }>("console"),
      secretOf(cluster, "viewer"),
      secretOf(cluster, "operator"),
      cluster.start({ node: "node-2", name: "web", ready: { ports: [80] } }, nginx(directory, "web", http, 1)),
    ]);
    return new Site({ cluster, url, browser, directory, tokens: { viewer, operator, admin }, web });
  }

  tokenOf(role: RoleName): string {
    return this.#tokens[role];
  }

  /** A page of a browser that nobody is logged in with. */
  async visitor(options: { readonly url?: string } = {}): Promise<Page> {
    const context = await this.#browser.newContext({ viewport: WIDE, reducedMotion: "reduce" });
    context.setDefaultTimeout(TIMEOUT_MS);
    this.#contexts.push(context);
    const page = await context.newPage();
    const { origin: own } = new URL(options.url ?? this.url);
    page.on("pageerror", (error) => this.#strange.push(error.message));
    page.on("console", (message) => {
      if (/Content Security Policy/i.test(message.text())) this.#strange.push(message.text());
    });
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol !== "data:" && protocol !== "blob:" && origin !== own) this.#strange.push(request.url());
    });
    return page;
  }

  /** A page where this role is logged in, at a path of the console. */
  async pageOf(
    role: RoleName,
    path = "",
    options: { readonly url?: string; readonly token?: string } = {},
  ): Promise<Page> {
    const page = await this.visitor(options);
    const base = options.url ?? this.url;
    const answer = await page.request.post(`${base}session`, {
      headers: { "x-slimfast-console": "1" },
      data: { token: options.token ?? this.tokenOf(role) },
    });
    expect(answer.status()).toBe(200);
    await page.goto(`${base}${path}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    return page;
  }

  /** A name that nothing had before: what earlier tests and tries have left is not seen under it. */
  fresh(name: string): string {
    this.#named += 1;
    return `${name}-${this.#named}`;
  }

  /** As curl on node-1 sees it, in an endpoint of this name. */
  curl(name: string, ...options: readonly string[]): ReturnType<Cluster["run"]> {
    return this.cluster.run({ node: "node-1", name }, ["curl", "-sS", "-m", "60", ...options]);
  }

  /** Ends what a test has opened, and says what was strange about it. */
  async afterEach(): Promise<void> {
    await Promise.all(this.#contexts.splice(0).map((context) => context.close()));
    expect(this.#strange.splice(0)).toEqual([]);
  }

  async close(): Promise<void> {
    await this.#browser.close();
    try {
      await this.cluster.stop();
    } finally {
      rmSync(this.#directory, { recursive: true, force: true });
    }
  }
}

async function secretOf(cluster: Cluster, role: RoleName): Promise<string> {
  const { secret } = await cluster.cli.json<{ secret: string }>("token", "create", `e2e-${role}`, "--role", role);
  return secret;
}
