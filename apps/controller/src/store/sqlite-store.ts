/**
 * The store in one SQLite file, `controller.db` in the state directory.
 *
 * WAL with synchronous=FULL: a transaction is on the disk when it returns. The file is held in SQLite's exclusive
 * locking mode, so the kernel's own lock keeps a second controller out and is gone the moment the first one is, however
 * it ended.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import SqliteDatabase, { type Database } from "better-sqlite3";
import { parseIpv4 } from "../domain/ipv4.js";
import {
  type Endpoint,
  endpointOwner,
  type Network,
  type Node,
  type PortPurpose,
  type PortRange,
} from "../domain/resources.js";
import { ClusterError, StartupError } from "../errors.js";
import { MAX_ENDPOINT_ID } from "../limits.js";
import { SqliteReader } from "./sqlite-reader.js";
import { migrate } from "./sqlite-schema.js";
import type { Change, NetworkWithCursor, Store, StoreTransaction } from "./store.js";

function prepareStatements(database: Database) {
  return {
    setRevision: database.prepare<[bigint]>("UPDATE revision SET last = ?"),
    putNode: database.prepare<[string, string, number, number, number, bigint]>(
      `INSERT INTO nodes (name, underlay_address, front_first, front_count, create_time_ms, revision)
       VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET underlay_address = excluded.underlay_address,
         front_first = excluded.front_first, front_count = excluded.front_count, revision = excluded.revision`,
    ),
    deleteReservationsOfNode: database.prepare<[string]>("DELETE FROM port_reservations WHERE node = ?"),
    deleteNode: database.prepare<[string]>("DELETE FROM nodes WHERE name = ?"),
    insertNetwork: database.prepare<[string, number, string, number, number, bigint]>(
      "INSERT INTO networks (name, vni, prefix, next_address, create_time_ms, revision) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    insertVni: database.prepare<[number]>("INSERT INTO endpoint_ids (vni, next) VALUES (?, 1) ON CONFLICT DO NOTHING"),
    setNextAddress: database.prepare<[number, string]>("UPDATE networks SET next_address = ? WHERE name = ?"),
    deleteNetwork: database.prepare<[string]>("DELETE FROM networks WHERE name = ?"),
    takeEndpointId: database
      .prepare<[number], number>("UPDATE endpoint_ids SET next = next + 1 WHERE vni = ? RETURNING next - 1")
      .pluck(),
    insertEndpoint: database.prepare<[string, string, string, number, number, string, string, number, bigint]>(
      `INSERT INTO endpoints
         (network, name, node, id, address, published_ports, labels, create_time_ms, revision)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    deleteEndpoint: database.prepare<[string, string]>("DELETE FROM endpoints WHERE network = ? AND name = ?"),
    reservePorts: database.prepare<[string, number, number, PortPurpose, string, bigint]>(
      "INSERT INTO port_reservations (node, first, count, purpose, owner, revision) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    releasePorts: database.prepare<[string, string]>("DELETE FROM port_reservations WHERE node = ? AND owner = ?"),
  };
}

type Statements = ReturnType<typeof prepareStatements>;

/** One transaction: takes the next revision with its first write, and remembers what it changed. */
class SqliteTransaction extends SqliteReader implements StoreTransaction {
  readonly changes: Change[] = [];
  readonly #statements: Statements;
  #next: bigint | undefined;

  constructor(reader: SqliteReader, statements: Statements) {
    super(reader);
    this.#statements = statements;
  }

  /** The revision that this transaction's changes get. */
  #write(): bigint {
    if (this.#next === undefined) {
      this.#next = this.revision + 1n;
      this.#statements.setRevision.run(this.#next);
    }
    return this.#next;
  }

  putNode(node: Omit<Node, "revision">): Node {
    const revision = this.#write();
    const { first, count } = node.frontPorts;
    this.#statements.putNode.run(node.name, node.underlayAddress, first, count, node.createTimeMs, revision);
    this.changes.push({ kind: "node", name: node.name });
    return { ...node, revision };
  }

  deleteNode(name: string): void {
    this.#write();
    this.#statements.deleteReservationsOfNode.run(name);
    this.#statements.deleteNode.run(name);
    this.changes.push({ kind: "node", name });
  }

  insertNetwork(network: Omit<NetworkWithCursor, "revision">): Network {
    const revision = this.#write();
    const { name, vni, prefix, nextAddress, createTimeMs } = network;
    this.#statements.insertNetwork.run(name, vni, prefix, nextAddress, createTimeMs, revision);
    this.#statements.insertVni.run(vni);
    this.changes.push({ kind: "network", name });
    return { name, vni, prefix, createTimeMs, revision };
  }

  setNextAddress(network: string, address: number): void {
    // Nobody but the allocation sees the cursor, so it is no change of the network.
    this.#statements.setNextAddress.run(address, network);
  }

  deleteNetwork(name: string): void {
    this.#write();
    this.#statements.deleteNetwork.run(name);
    this.changes.push({ kind: "network", name });
  }

  takeEndpointId(vni: number): number {
    const id = this.#statements.takeEndpointId.get(vni);
    if (id === undefined) throw new Error(`VNI ${vni} has no network`);
    if (id > MAX_ENDPOINT_ID) {
      throw new ClusterError(
        "resource_exhausted",
        `all endpoint ids of VNI ${vni} are used up: create another network`,
      );
    }
    return id;
  }

  insertEndpoint(endpoint: Omit<Endpoint, "revision">): Endpoint {
    const revision = this.#write();
    const { network, name, node, id, address, publishedPorts, labels, createTimeMs } = endpoint;
    const ports = JSON.stringify(publishedPorts);
    this.#statements.insertEndpoint.run(
      network,
      name,
      node,
      id,
      parseIpv4(address) ?? 0,
      ports,
      JSON.stringify(labels),
      createTimeMs,
      revision,
    );
    this.changes.push({ kind: "endpoint", network, name, node });
    return { ...endpoint, revision };
  }

  deleteEndpoint({ network, name, node }: Endpoint): void {
    this.#write();
    this.#statements.releasePorts.run(node, endpointOwner(network, name));
    this.#statements.deleteEndpoint.run(network, name);
    this.changes.push({ kind: "endpoint", network, name, node });
  }

  reservePorts(reservation: { node: string; ports: PortRange; purpose: PortPurpose; owner: string }): void {
    const { node, ports, purpose, owner } = reservation;
    this.#statements.reservePorts.run(node, ports.first, ports.count, purpose, owner, this.#write());
  }

  releasePorts(node: string, owner: string): void {
    this.#write();
    this.#statements.releasePorts.run(node, owner);
  }
}

class SqliteStore extends SqliteReader implements Store {
  readonly #database: Database;
  readonly #statements: Statements;
  readonly #listeners = new Set<(changes: readonly Change[], revision: bigint) => void>();

  constructor(database: Database) {
    super(database);
    this.#database = database;
    this.#statements = prepareStatements(database);
  }

  transaction<Result>(change: (tx: StoreTransaction) => Result): Result {
    const tx = new SqliteTransaction(this, this.#statements);
    const result = this.#database.transaction(() => change(tx)).immediate();
    if (tx.changes.length > 0) {
      const revision = this.revision;
      for (const listener of this.#listeners) listener(tx.changes, revision);
    }
    return result;
  }

  onCommit(listener: (changes: readonly Change[], revision: bigint) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#database.close();
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof SqliteDatabase.SqliteError && error.code.startsWith("SQLITE_BUSY");
}

/**
 * Opens the store of the state directory, which is created if it does not exist.
 *
 * @throws StartupError `state_locked` if another controller has it open, `state_unusable` if it cannot be read.
 */
export function openSqliteStore(stateDirectory: string): Store {
  const file = join(stateDirectory, "controller.db");
  let database: Database | undefined;
  try {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
    database = new SqliteDatabase(file, { timeout: 0 });
    database.pragma("locking_mode = EXCLUSIVE");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("foreign_keys = ON");
    // The exclusive mode locks with the first access, and a mere read may be served without it: this one is a write.
    database.exec("BEGIN EXCLUSIVE; COMMIT");
    migrate(database);
    return new SqliteStore(database);
  } catch (error) {
    database?.close();
    if (error instanceof StartupError) throw error;
    if (isBusy(error)) {
      throw new StartupError(
        "state_locked",
        `the state directory ${stateDirectory} is in use by another controller: stop that one, or give this one ` +
          "another directory with --state-dir",
        error,
      );
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError("state_unusable", `the state in ${file} cannot be used: ${reason}`, error);
  }
}
