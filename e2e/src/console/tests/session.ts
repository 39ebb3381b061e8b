/** Logging in, what scripts and other sites can get at, and what each role may do. */
import { describe, expect, it } from "vitest";
import { PAGES, type Site } from "../site.js";

export function sessionTests(site: () => Site): void {
  describe("logging in", () => {
    it("is refused with a wrong token, shows nothing before, and leads to the page that was asked for", async () => {
      const page = await site().visitor();
      await page.goto(`${site().url}ports?q=front`);
      await page.getByLabel("Token").fill("sf_wrong");
      await page.getByRole("button", { name: "Log in" }).click();
      await page.getByRole("alert").getByText("does not know this token").waitFor();
      expect(await page.getByRole("heading", { name: "Port reservations" }).count()).toBe(0);
      await page.getByLabel("Token").fill(site().tokenOf("viewer"));
      await page.getByRole("button", { name: "Log in" }).click();
      await page.getByRole("heading", { name: "Port reservations" }).waitFor();
      expect(await page.getByLabel("Filter").inputValue()).toBe("front");
    });

    it("leaves no token where a script could read it, and logging out ends the session", async () => {
      const page = await site().pageOf("admin");
      const readable = await page.evaluate("JSON.stringify([document.cookie, { ...localStorage }, location.href])");
      expect(readable).not.toContain(site().tokenOf("admin"));
      expect(readable).not.toContain("slimfast-7");
      const [cookie, ...others] = await page.context().cookies();
      expect(others).toEqual([]);
      expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict" });
      await page.getByRole("button", { name: "Log out" }).click();
      await page.getByLabel("Token").waitFor();
      if (cookie) await page.context().addCookies([cookie]);
      await page.reload();
      await page.getByLabel("Token").waitFor();
    });

    it("does not help other sites: a call needs the console's own header, and comes from its origin", async () => {
      const page = await site().pageOf("admin");
      const call = (headers: Record<string, string>) =>
        page.request.post(`${site().url}slimfast.v1.ClusterService/ListNodes`, {
          headers: { "content-type": "application/grpc-web+proto", ...headers },
          data: Buffer.from([0, 0, 0, 0, 0]),
        });
      expect((await call({})).status()).toBe(403);
      expect((await call({ "x-slimfast-console": "1", origin: "http://elsewhere.example" })).status()).toBe(403);
      expect((await call({ "x-slimfast-console": "1" })).status()).toBe(200);
      const policy = (await page.request.get(site().url)).headers()["content-security-policy"];
      expect(policy).toContain("script-src 'self';");
      expect(policy).toContain("default-src 'none'");
    });
  });

  describe("roles", () => {
    it("a viewer sees everything but tokens and audit log, changes nothing, and is told why", async () => {
      const page = await site().pageOf("viewer", "ports");
      const reserve = page.getByRole("button", { name: "Reserve ports" });
      expect(await reserve.isDisabled()).toBe(true);
      const reason = "it needs the role operator, and yours is viewer";
      expect(await reserve.getAttribute("title")).toBe(reason);
      await reserve.click({ force: true });
      await page.getByRole("status").getByText(`This cannot be done: ${reason}.`).waitFor();
      expect(await page.getByRole("dialog").count()).toBe(0);
      // A link to the form does not help either.
      await page.goto(`${site().url}ports?form=new`);
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Name").fill("mine");
      await dialog.getByLabel("Ports", { exact: true }).fill("9400");
      expect(await dialog.getByRole("button", { name: "Reserve" }).isDisabled()).toBe(true);
      for (const [path, button] of [
        ["networks", "Create network"],
        ["policies", "Create policy"],
        ["nodes", "Add node"],
      ] as const) {
        await page.goto(`${site().url}${path}`);
        expect(await page.getByRole("button", { name: button }).isDisabled(), path).toBe(true);
      }
      for (const path of ["audit", "tokens"]) {
        await page.goto(`${site().url}${path}`);
        await page.getByText("it needs the role admin, and yours is viewer").waitFor();
      }
    });

    it("an operator changes what runs, and no tokens; all pages lead somewhere", async () => {
      const page = await site().pageOf("operator", "ports");
      expect(await page.getByRole("button", { name: "Reserve ports" }).isDisabled()).toBe(false);
      for (const [path, title] of PAGES) {
        await page.getByRole("navigation").getByRole("link", { name: title, exact: true }).click();
        await page.getByRole("heading", { level: 1, name: title }).waitFor();
        expect(new URL(page.url()).pathname).toBe(`/${path}`);
      }
      await page.getByText("it needs the role admin, and yours is operator").waitFor();
    });

    it("an administrator makes a token, which works, is in the audit log, and ends with its sessions", async () => {
      const page = await site().pageOf("admin", "tokens");
      await page.getByRole("button", { name: "Create token" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Name").fill("made-here");
      await dialog.getByLabel("Role").selectOption("viewer");
      await dialog.getByLabel("Valid for").fill("1h");
      expect(await dialog.getByTestId("cli").textContent()).toBe(
        "slimfast token create made-here --role viewer --expires 1h",
      );
      await dialog.getByRole("button", { name: "Create" }).click();
      const secret =
        (await page.getByRole("dialog", { name: "The token's secret" }).getByTestId("cli").textContent()) ?? "";
      expect(secret).toMatch(/^sf_/);
      await page.getByRole("button", { name: "Close" }).click();
      const row = page.getByRole("row").filter({ hasText: "made-here" });
      await row.waitFor();

      const other = await site().visitor();
      await other.goto(`${site().url}nodes`);
      await other.getByLabel("Token").fill(secret);
      await other.getByRole("button", { name: "Log in" }).click();
      await other.getByRole("heading", { name: "Nodes" }).waitFor();

      await row.getByRole("button", { name: "Revoke" }).click();
      await page.getByRole("dialog").getByText("loses access at once").waitFor();
      expect(await page.getByRole("dialog").getByTestId("cli").textContent()).toBe("slimfast token revoke made-here");
      await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
      await row.waitFor({ state: "detached" });
      // Its open streams end, and it is asked for a token again.
      await other.getByLabel("Token").waitFor();

      await page.goto(`${site().url}audit?q=made-here`);
      await page.getByRole("row").filter({ hasText: "AccessService/RevokeToken" }).waitFor();
      await page.getByRole("button", { name: /^Show AccessService\/CreateToken/ }).click();
      await page.getByRole("dialog").getByText('"made-here"').waitFor();
      expect(await page.getByRole("dialog").textContent()).not.toContain(secret);
    });
  });
}
