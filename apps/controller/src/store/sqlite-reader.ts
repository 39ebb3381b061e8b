/** The reading half of the SQLite store: its queries, prepared once. */
import type { Database } from "better-sqlite3";
import type { Endpoint, Network, Node, PortRange, PortReservation } from "../domain/resources.js";
import {
  type EndpointRow,
  endpointOf,
  type NetworkRow,
  type NodeRow,
  networkOf,
  nodeOf,
  type ReservationRow,
  reservationOf,
} from "./sqlite-rows.js";
import type { NetworkWithCursor, Page, StoreReader } from "./store.js";

const SELECT_ENDPOINT =
  "SELECT endpoints.*, networks.vni FROM endpoints JOIN networks ON networks.name = endpoints.network";

function prepareQueries(database: Database) {
  return {
    revision: database.prepare<[], number>("SELECT last FROM revision").pluck(),
    node: database.prepare<[string], NodeRow>("SELECT * FROM nodes WHERE name = ?"),
    nodeByAddress: database.prepare<[string], NodeRow>("SELECT * FROM nodes WHERE underlay_address = ?"),
    nodes: database.prepare<[string, number], NodeRow>("SELECT * FROM nodes WHERE name > ? ORDER BY name LIMIT ?"),
    network: database.prepare<[string], NetworkRow>("SELECT * FROM networks WHERE name = ?"),
    networkByVni: database.prepare<[number], NetworkRow>("SELECT * FROM networks WHERE vni = ?"),
    networks: database.prepare<[string, number], NetworkRow>(
      "SELECT * FROM networks WHERE name > ? ORDER BY name LIMIT ?",
    ),
    vnisEverUsed: database.prepare<[], number>("SELECT vni FROM endpoint_ids ORDER BY vni").pluck(),
    vnisInUse: database.prepare<[], number>("SELECT vni FROM networks ORDER BY vni").pluck(),
    endpoint: database.prepare<[string, string], EndpointRow>(
      `${SELECT_ENDPOINT} WHERE endpoints.network = ? AND endpoints.name = ?`,
    ),
    endpointByAddress: database.prepare<[string, number], EndpointRow>(
      `${SELECT_ENDPOINT} WHERE endpoints.network = ? AND endpoints.address = ?`,
    ),
    endpoints: database.prepare<[string, string, number], EndpointRow>(
      `${SELECT_ENDPOINT} WHERE (endpoints.network, endpoints.name) > (?, ?)
       ORDER BY endpoints.network, endpoints.name LIMIT ?`,
    ),
    endpointsOfNetwork: database.prepare<[string, string, string, string, number], EndpointRow>(
      `${SELECT_ENDPOINT} WHERE endpoints.network = ? AND endpoints.name > ? AND (? = '' OR endpoints.node = ?)
       ORDER BY endpoints.name LIMIT ?`,
    ),
    endpointsOfNode: database.prepare<[string, string, string, number], EndpointRow>(
      `${SELECT_ENDPOINT} WHERE endpoints.node = ? AND (endpoints.network, endpoints.name) > (?, ?)
       ORDER BY endpoints.network, endpoints.name LIMIT ?`,
    ),
    networksOfNode: database
      .prepare<[string], string>("SELECT DISTINCT network FROM endpoints WHERE node = ? ORDER BY network")
      .pluck(),
    nodesOfNetwork: database
      .prepare<[string], string>("SELECT DISTINCT node FROM endpoints WHERE network = ? ORDER BY node")
      .pluck(),
    hasEndpoints: database.prepare<[string], number>("SELECT 1 FROM endpoints WHERE network = ? LIMIT 1").pluck(),
    hasEndpointsOfNode: database
      .prepare<[string, string], number>("SELECT 1 FROM endpoints WHERE network = ? AND node = ? LIMIT 1")
      .pluck(),
    addressesFrom: database
      .prepare<[string, number], number>(
        "SELECT address FROM endpoints WHERE network = ? AND address >= ? ORDER BY address",
      )
      .pluck(),
    reservations: database.prepare<[string, number, number], ReservationRow>(
      "SELECT * FROM port_reservations WHERE (node, first) > (?, ?) ORDER BY node, first LIMIT ?",
    ),
    reservationsOfNode: database.prepare<[string, number, number], ReservationRow>(
      "SELECT * FROM port_reservations WHERE node = ? AND first > ? ORDER BY first LIMIT ?",
    ),
    reservationsWithin: database.prepare<[string, number, number], ReservationRow>(
      "SELECT * FROM port_reservations WHERE node = ? AND first <= ? AND first + count - 1 >= ? ORDER BY first",
    ),
  };
}

export class SqliteReader implements StoreReader {
  readonly #queries: ReturnType<typeof prepareQueries>;

  /** @param source The database, or a reader whose prepared queries are shared. */
  constructor(source: Database | SqliteReader) {
    this.#queries = source instanceof SqliteReader ? source.#queries : prepareQueries(source);
  }

  get revision(): bigint {
    return BigInt(this.#queries.revision.get() ?? 0);
  }

  getNode(name: string): Node | undefined {
    const row = this.#queries.node.get(name);
    return row && nodeOf(row);
  }

  getNodeByUnderlayAddress(address: string): Node | undefined {
    const row = this.#queries.nodeByAddress.get(address);
    return row && nodeOf(row);
  }

  listNodes({ after = "", limit }: Page & { after?: string }): Node[] {
    return this.#queries.nodes.all(after, limit).map(nodeOf);
  }

  getNetwork(name: string): NetworkWithCursor | undefined {
    const row = this.#queries.network.get(name);
    return row && networkOf(row);
  }

  getNetworkByVni(vni: number): Network | undefined {
    const row = this.#queries.networkByVni.get(vni);
    return row && networkOf(row);
  }

  listNetworks({ after = "", limit }: Page & { after?: string }): Network[] {
    return this.#queries.networks.all(after, limit).map(networkOf);
  }

  vnisEverUsed(): Iterable<number> {
    return this.#queries.vnisEverUsed.all();
  }

  vnisInUse(): Iterable<number> {
    return this.#queries.vnisInUse.all();
  }

  getEndpoint(network: string, name: string): Endpoint | undefined {
    const row = this.#queries.endpoint.get(network, name);
    return row && endpointOf(row);
  }

  getEndpointByAddress(network: string, address: number): Endpoint | undefined {
    const row = this.#queries.endpointByAddress.get(network, address);
    return row && endpointOf(row);
  }

  listEndpoints({
    after = { network: "", name: "" },
    network = "",
    node = "",
    limit,
  }: Page & { after?: { network: string; name: string }; network?: string; node?: string }): Endpoint[] {
    const rows =
      network !== ""
        ? this.#queries.endpointsOfNetwork.all(network, after.name, node, node, limit)
        : node !== ""
          ? this.#queries.endpointsOfNode.all(node, after.network, after.name, limit)
          : this.#queries.endpoints.all(after.network, after.name, limit);
    return rows.map(endpointOf);
  }

  networksOfNode(node: string): string[] {
    return this.#queries.networksOfNode.all(node);
  }

  nodesOfNetwork(network: string): string[] {
    return this.#queries.nodesOfNetwork.all(network);
  }

  hasEndpoints(network: string, node?: string): boolean {
    const row =
      node === undefined
        ? this.#queries.hasEndpoints.get(network)
        : this.#queries.hasEndpointsOfNode.get(network, node);
    return row !== undefined;
  }

  addressesFrom(network: string, from: number): Iterable<number> {
    return this.#queries.addressesFrom.iterate(network, from);
  }

  listReservations({
    after = { node: "", first: 0 },
    node = "",
    limit,
  }: Page & { after?: { node: string; first: number }; node?: string }): PortReservation[] {
    const rows =
      node === ""
        ? this.#queries.reservations.all(after.node, after.first, limit)
        : this.#queries.reservationsOfNode.all(node, after.first, limit);
    return rows.map(reservationOf);
  }

  reservationsWithin(node: string, { first, count }: PortRange): PortReservation[] {
    return this.#queries.reservationsWithin.all(node, first + count - 1, first).map(reservationOf);
  }
}
