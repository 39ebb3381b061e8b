/** Policies, networks, endpoints and nodes: created, tried, changed, deleted. */
import type { Page } from "@playwright/test";
import { Role } from "@slimfast/proto";
import { describe, expect, it } from "vitest";
import { Container, openedToIoUring } from "../../fixture/container.js";
import { LoneController } from "../../fixture/lone-controller.js";
import { OtherMachine } from "../../fixture/other-machine.js";
import type { Site } from "../site.js";
import { runShown, wordsOf } from "./shown-command.js";

export function resourcesTests(site: () => Site): void {
  const dialogOf = (page: Page) => page.getByRole("dialog");
  const rowOf = (page: Page, name: string) => page.getByRole("row").filter({ hasText: name });
  const shown = async (page: Page): Promise<string> => (await dialogOf(page).getByTestId("cli").textContent()) ?? "";

  describe("policies", () => {
    it("are tried against what was seen, applied, hold for curl, and are deleted after saying what that allows", async () => {
      const url = `http://${site().web.address}/`;
      expect((await site().curl("guest", url)).exitCode).toBe(0);
      const page = await site().pageOf("operator", "policies");
      await page.getByRole("button", { name: "Create policy" }).click();
      await dialogOf(page).getByLabel("Name").fill("no-guests");
      await dialogOf(page).getByLabel("Such connections are").selectOption("deny");
      await dialogOf(page).getByLabel("From").fill("@guest");
      await dialogOf(page).getByLabel("To", { exact: true }).fill("@web");
      await dialogOf(page).getByLabel("Ports").fill("80");
      expect(await shown(page)).toBe(
        "slimfast policy create no-guests --network default --action deny --from @guest --to @web --port 80",
      );
      // The endpoint of that name has to be there for the trial to know it.
      const visit = site().curl("guest", "--limit-rate", "1k", `${url}slow`);
      const trial = dialogOf(page).getByRole("status", { name: "Trial" });
      await expect
        .poll(
          async () => {
            await dialogOf(page).getByRole("button", { name: "Try against the last connections" }).click();
            await trial.waitFor();
            return trial.textContent();
          },
          { timeout: 30_000 },
        )
        .toMatch(/[1-9]\d* would be denied/);
      await trial.getByText("guest", { exact: false }).first().waitFor();
      const tried = await site().cluster.cli.run(
        wordsOf((await trial.getByTestId("cli-trial").textContent()) ?? "").slice(1),
      );
      expect(tried.stdout).toMatch(/denied/);
      // Nothing has happened to it so far.
      await dialogOf(page).getByRole("button", { name: "Apply" }).click();
      await rowOf(page, "no-guests").waitFor();
      // Established connections that are not allowed any more are cut.
      expect((await visit).exitCode).toBe(56);
      // CURLE_COULDNT_CONNECT
      expect((await site().curl("guest", url)).exitCode).toBe(7);
      await page.goto(`${site().url}connections?verdict=denied&endpoint=guest`);
      await page.getByRole("region", { name: "Connections" }).getByText("denied").first().waitFor();
      await page.goto(site().url);
      let isShown = false;
      const denied = page.getByRole("link", { name: /^Denied by policy (0\.[1-9]|[1-9][\d.]*)\/s$/ }).waitFor();
      const seen = denied.finally(() => {
        isShown = true;
      });
      while (!isShown) await site().curl("guest", url);
      await seen;

      await page.goto(`${site().url}policies`);
      await rowOf(page, "no-guests").getByRole("button", { name: "Delete" }).click();
      await dialogOf(page)
        .getByText(/Of \d+ connections/)
        .waitFor();
      expect(await shown(page)).toBe("slimfast policy delete no-guests --network default");
      await dialogOf(page).getByRole("button", { name: "Delete" }).click();
      await rowOf(page, "no-guests").waitFor({ state: "detached" });
      expect((await site().curl("guest", url)).exitCode).toBe(0);
    });

    it("are edited, and what is wrong with one is said where it is written", async () => {
      const page = await site().pageOf("operator", "policies");
      await runShown(site().cluster, "slimfast policy create edited --network default --action allow --port 443");
      await rowOf(page, "edited").getByRole("button", { name: /^Edit/ }).click();
      await dialogOf(page).getByLabel("From").fill("not a selector");
      await dialogOf(page)
        .getByText(/not a selector: write all, key=value/)
        .waitFor();
      await dialogOf(page).getByLabel("From").fill("app=front; @web");
      await runShown(site().cluster, await shown(page));
      await rowOf(page, "edited").getByText("app=front; @web").waitFor();
      await site().cluster.cli.json("policy", "delete", "edited");
    });
  });

  describe("networks, endpoints, nodes", () => {
    it("a network is created by the command that is shown, edited, and deleted", async () => {
      const page = await site().pageOf("operator", "networks?form=new");
      await dialogOf(page).getByLabel("Name").fill("blue");
      await dialogOf(page).getByLabel("IPv4 prefix").fill("10.77.0.0/16");
      await dialogOf(page).getByLabel("Labels").fill("team=a");
      await dialogOf(page).getByLabel("Ranges outside").fill("192.0.2.0/24");
      await runShown(site().cluster, await shown(page));
      await dialogOf(page).getByRole("button", { name: "Cancel" }).click();
      const row = rowOf(page, "blue");
      await row.getByText("10.77.0.0/16").waitFor();

      await row.getByRole("button", { name: "Edit" }).click();
      await dialogOf(page).getByLabel("A connection that no policy allows").selectOption("denied");
      await dialogOf(page).getByLabel("Description").fill("with <b>care</b>");
      expect(await shown(page)).toBe("slimfast network update blue --description 'with <b>care</b>' --default-deny");
      await dialogOf(page).getByRole("button", { name: "Save" }).click();
      await row.getByText("denied").waitFor();
      await row.getByText("with <b>care</b>").waitFor();

      await runShown(site().cluster, "slimfast policy create inside --network blue --action allow");
      await row.getByRole("button", { name: "Delete" }).click();
      await dialogOf(page).getByText("Its policies are deleted with it").waitFor();
      await dialogOf(page).getByText("inside").waitFor();
      expect(await shown(page)).toBe("slimfast network delete blue");
      await dialogOf(page).getByRole("button", { name: "Delete" }).click();
      await row.waitFor({ state: "detached" });
      // One with endpoints cannot be deleted, and says why.
      const refused = rowOf(page, "default").getByRole("button", { name: "Delete" });
      expect(await refused.getAttribute("title")).toMatch(/^it has \d+ endpoints: end them first$/);
    });

    it("an endpoint whose container may use io_uring is marked", async () => {
      const name = site().fresh("open");
      const command = ["/bin/busybox", "sleep", "600"];
      const options = { name, node: "node-1", command, change: openedToIoUring };
      const box = await Container.start(site().cluster, options);
      try {
        const page = await site().pageOf("viewer", "endpoints");
        const mark = rowOf(page, name).getByText("io_uring", { exact: true });
        await mark.waitFor();
        expect(await mark.getAttribute("title")).toMatch(/^1 of its containers .* "slimfast oci-profile" adds/);
        expect(await page.getByText("io_uring", { exact: true }).count()).toBe(1);
      } finally {
        await box.stop();
      }
    });

    it("an endpoint's labels are changed, and a new one is started by the command that is written", async () => {
      const page = await site().pageOf("operator", "endpoints");
      await rowOf(page, "web").getByRole("button", { name: "Labels" }).click();
      await dialogOf(page).getByLabel("Labels").fill("app=web, tier=front");
      await runShown(site().cluster, await shown(page));
      await rowOf(page, "web").getByText("app=web, tier=front").waitFor();
      await page.getByRole("button", { name: "Cancel" }).click();

      await page.getByRole("button", { name: "New endpoint" }).click();
      await dialogOf(page).getByLabel("Name").fill("fresh");
      await dialogOf(page).getByLabel("Command").fill("true");
      await runShown(site().cluster, await shown(page));
    });

    it("a node is drained, takes nothing new, and is used again", async () => {
      const page = await site().pageOf("operator", "nodes");
      const row = rowOf(page, "node-2");
      await row.getByRole("button", { name: /^Drain/ }).click();
      await dialogOf(page)
        .getByText(/Nothing new starts on it.* that it has go on/)
        .waitFor();
      expect(await shown(page)).toMatch(/^slimfast node drain \S+node-2$/);
      await dialogOf(page).getByRole("button", { name: "Drain" }).click();
      await row.getByText("draining").waitFor();
      const refused = await site().cluster.run({ node: "node-2" }, ["true"]);
      expect(refused.stderr).toContain("drain");
      await row.getByRole("button", { name: /again$/ }).click();
      expect(await shown(page)).toMatch(/^slimfast node undrain \S+node-2$/);
      await dialogOf(page).getByRole("button", { name: "Use again" }).click();
      await row.getByText("active").waitFor();
      expect(await row.getByRole("button", { name: /^Forget/ }).getAttribute("title")).toContain(
        "its agent is connected",
      );
    });

    it("a machine becomes a node by the command that is shown once, and is forgotten when it is gone", async () => {
      const name = `${site().cluster.tag}node-9`;
      const machine = new OtherMachine(site().cluster, 9);
      try {
        const page = await site().pageOf("admin", "nodes");
        await page.getByRole("button", { name: "Add node" }).click();
        await dialogOf(page).getByLabel("Name").fill(name);
        await dialogOf(page).getByLabel("Underlay address").fill(machine.address);
        expect(await shown(page)).toBe(`slimfast node join-command ${name} --underlay ${machine.address}`);
        await dialogOf(page).getByRole("button", { name: "Make a join token" }).click();
        const once = page.getByRole("dialog", { name: "Run this on the new machine" });
        await machine.join(wordsOf((await once.getByTestId("cli").textContent()) ?? ""));
        await once.getByRole("button", { name: "Close" }).click();
        const row = rowOf(page, name);
        await row.getByText("connected", { exact: true }).waitFor();
        // It came over TLS, with a certificate of the cluster's.
        await row.getByText(/^in \d+ h/).waitFor();

        await row.getByRole("button", { name: /^Labels/ }).click();
        await dialogOf(page).getByLabel("Labels").fill("rack=9");
        await runShown(site().cluster, await shown(page));
        await row.getByText("rack=9").waitFor();
        await dialogOf(page).getByRole("button", { name: "Cancel" }).click();

        await machine.leave();
        await row.getByText("lost", { exact: true }).waitFor();
        await row.getByRole("button", { name: /^Forget/ }).click();
        await dialogOf(page)
          .getByText(/Its 0 endpoints and its 1 reservations go with it/)
          .waitFor();
        expect(await shown(page)).toBe(`slimfast node delete ${name}`);
        await dialogOf(page).getByRole("button", { name: "Forget" }).click();
        await row.waitFor({ state: "detached" });
      } finally {
        await machine.close();
      }
    });

    it("nobody can join a controller without TLS, which is said, and no token is left behind", async () => {
      const lone = await LoneController.start();
      try {
        const { access } = lone.client;
        const { secret: token } = await access.createToken({ token: { name: "e2e", role: Role.ROLE_ADMIN } });
        const page = await site().pageOf("admin", "nodes?form=new", { url: lone.url, token });
        await dialogOf(page).getByLabel("Name").fill("node-9");
        await dialogOf(page).getByLabel("Underlay address").fill("192.0.2.9");
        await dialogOf(page).getByRole("button", { name: "Make a join token" }).click();
        await dialogOf(page)
          .getByText(/No controller of this cluster listens for agents over TLS/)
          .waitFor();
        expect((await access.listTokens({})).tokens.map(({ name }) => name)).toEqual(["e2e"]);
        // Empty, it says what to do.
        await dialogOf(page).getByRole("button", { name: "Cancel" }).click();
        await page.getByText("No node yet. Add one above, and run the command on its machine.").waitFor();
      } finally {
        await lone.stop();
      }
    });
  });
}
