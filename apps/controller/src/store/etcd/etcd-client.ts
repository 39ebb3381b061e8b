/** The calls of etcd that the store makes, with deadlines and one error for all that can be wrong with them. */
import type { Etcd3, IKeyValue, IRangeResponse, ITxnRequest, ITxnResponse } from "etcd3";
import { ConnectionPool } from "etcd3/lib/connection-pool.js";
import { KVClient, LeaseClient, WatchClient } from "etcd3/lib/rpc.js";
import { ETCD_CALL_MS } from "../../limits.js";
import type { EtcdAccess } from "./etcd-access.js";
import { DOCUMENTS, rangeEnd, STORE_ID_KEY } from "./etcd-keys.js";

const PAGE_KEYS = 2_000;

export interface Snapshot {
  readonly revision: bigint;
  readonly documents: readonly IKeyValue[];
}

export class EtcdClient {
  readonly #pool: ConnectionPool;
  readonly kv: KVClient;
  readonly lease: LeaseClient;
  readonly watch: WatchClient;

  /** @param hosts `HOST:PORT` each. */
  constructor(hosts: readonly string[], { tls, login }: EtcdAccess = {}) {
    this.#pool = new ConnectionPool({
      hosts: [...hosts],
      ...(tls ? { credentials: credentialsOf(tls) } : {}),
      ...(login ? { auth: { username: login.user, password: login.password } } : {}),
      grpcOptions: {
        "grpc.enable_http_proxy": 0,
        // A page of documents, or all that one transaction has changed.
        "grpc.max_receive_message_length": -1,
        "grpc.keepalive_time_ms": 10_000,
        "grpc.keepalive_timeout_ms": 5_000,
      },
      defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + ETCD_CALL_MS }),
    });
    this.kv = new KVClient(this.#pool);
    this.lease = new LeaseClient(this.#pool);
    this.watch = new WatchClient(this.#pool);
  }

  txn(request: ITxnRequest): Promise<ITxnResponse> {
    return this.kv.txn(request);
  }

  /**
   * Asks for next to nothing. Where there are users, a token ends with time or with etcd's process, and only a call of this
   * kind notices and gets another; a watch is just refused.
   */
  async touch(): Promise<void> {
    await this.kv.range({ key: STORE_ID_KEY, count_only: true });
  }

  /** The id of the store, made if it has none. */
  async storeId(proposed: string): Promise<string> {
    const answer = await this.kv.txn({
      compare: [{ key: STORE_ID_KEY, target: "Create", result: "Equal", create_revision: "0" }],
      success: [{ request_put: { key: STORE_ID_KEY, value: Buffer.from(proposed) } }],
      failure: [{ request_range: { key: STORE_ID_KEY } }],
    });
    const kept = answer.responses[0]?.response_range?.kvs[0]?.value.toString();
    return answer.succeeded ? proposed : (kept ?? proposed);
  }

  /** All documents as of one revision. */
  async snapshot(): Promise<Snapshot> {
    const documents: IKeyValue[] = [];
    const range_end = rangeEnd(DOCUMENTS);
    let key = Buffer.from(DOCUMENTS);
    let revision = "0";
    for (;;) {
      const page: IRangeResponse = await this.kv.range({ key, range_end, limit: PAGE_KEYS, revision });
      if (revision === "0") revision = page.header.revision;
      documents.push(...page.kvs);
      const last = page.kvs.at(-1);
      if (!page.more || !last) return { revision: BigInt(revision), documents };
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  close(): void {
    this.#pool.close();
  }
}

function credentialsOf({ ca, certificate, privateKey }: NonNullable<EtcdAccess["tls"]>) {
  if (!certificate || !privateKey) return { rootCertificate: ca };
  return { rootCertificate: ca, certChain: certificate, privateKey };
}

export type { Etcd3 };
