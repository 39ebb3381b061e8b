/** `slimfast port …`: host ports of the nodes and who has them. */
import type { PortReservation } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { collect, type ListCommandOptions, listResources } from "../resources/list.js";
import { freeRanges, portStrip } from "../resources/port-strip.js";
import { formatPorts, formatTime, parseCount, parseDuration, parsePorts } from "../resources/values.js";
import { PORT_RESERVATIONS } from "../resources/views.js";

type Options = RemoteOptions & { readonly json?: boolean };

const MAX_BLOCK = 65_535;

export async function listPorts(options: ListCommandOptions & { readonly strip?: boolean }): Promise<void> {
  if (!options.strip) return listResources(PORT_RESERVATIONS, options);
  if (options.json || options.watch) throw new CliError("usage", "--strip is for people: without --json and --watch");
  const reservations = await withCluster(options, (controller) => collect(PORT_RESERVATIONS.list(controller, options)));
  const nodes = [...new Set(reservations.map(({ node }) => node))].sort();
  if (nodes.length === 0) printLine("No port reservations.");
  for (const node of nodes) {
    printLine(
      portStrip(
        node,
        reservations.filter((reservation) => reservation.node === node),
      ),
    );
  }
}

export async function reservePorts(
  name: string,
  options: Options & {
    readonly node: string;
    readonly ports?: string;
    readonly count?: string;
    readonly lease?: string;
    readonly description?: string;
  },
): Promise<void> {
  if ((options.ports === undefined) === (options.count === undefined)) {
    throw new CliError("usage", "give --ports for certain ones, or --count for any free block");
  }
  const ports =
    options.ports === undefined
      ? { first: 0, count: parseCount(options.count ?? "", "--count", 1, MAX_BLOCK) }
      : parsePorts(options.ports, "--ports");
  const lease = options.lease === undefined ? undefined : parseDuration(options.lease, "--lease");
  const { portReservation } = await withCluster(options, ({ cluster }) =>
    cluster.createPortReservation({
      portReservation: { name, node: options.node, ports, description: options.description ?? "" },
      ...(lease === undefined ? {} : { lease }),
    }),
  );
  show("Reserved", portReservation, options);
}

export async function extendPorts(name: string, options: Options & { readonly lease: string }): Promise<void> {
  const lease = options.lease === "forever" ? { seconds: 0n, nanos: 0 } : parseDuration(options.lease, "--lease");
  const { portReservation } = await withCluster(options, async ({ cluster }) => {
    const found = (await cluster.getPortReservation({ name })).portReservation;
    // The present ports are in the mask, since an empty one would mean all fields.
    return cluster.updatePortReservation({
      portReservation: { name, ...(found?.ports ? { ports: found.ports } : {}), etag: found?.etag ?? "" },
      updateMask: ["ports"],
      lease,
    });
  });
  show("Extended", portReservation, options);
}

export async function releasePorts(name: string, options: Options): Promise<void> {
  await withCluster(options, ({ cluster }) => cluster.deletePortReservation({ name }));
  if (options.json) printJson({ ok: true });
  else printLine(`Released ${name}`);
}

export async function freePorts(options: Options & { readonly node: string; readonly count: string }): Promise<void> {
  const count = parseCount(options.count, "--count", 1, MAX_BLOCK);
  const reservations = await withCluster(options, async (controller) => {
    // Otherwise all ports of a node that is not there would be free.
    await controller.cluster.getNode({ name: options.node });
    return collect(controller.listAllPortReservations({ node: options.node }));
  });
  const free = freeRanges(reservations, count);
  if (options.json) printJson(free);
  else if (free.length === 0) printLine(`No block of ${count} ports is free on ${options.node}.`);
  else for (const range of free) printLine(`${formatPorts(range)}  ${range.count} ports`);
}

function show(what: string, reservation: PortReservation | undefined, options: Options): void {
  if (!reservation) throw new CliError("failed", "the controller's answer has no reservation in it");
  if (options.json) {
    printJson({ ok: true, portReservation: PORT_RESERVATIONS.json(reservation) });
    return;
  }
  const until = reservation.expireTime ? `until ${formatTime(reservation.expireTime)}` : "for ever";
  printLine(`${what} ${reservation.name}: ${formatPorts(reservation.ports)} on ${reservation.node}, ${until}`);
}
