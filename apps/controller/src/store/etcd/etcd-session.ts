/**
 * The lease that says that this controller is alive: kept by etcd's own clock, and renewed by ours, which does not jump.
 * When it is lost, everything under it is gone, and another one takes its place.
 */
import { ETCD_RETRY_MS, SESSION_KEEPALIVE_MS, SESSION_TTL_S } from "../../limits.js";
import type { EtcdClient } from "./etcd-client.js";

export class EtcdSession {
  readonly #client: EtcdClient;
  #leaseId: string;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(client: EtcdClient, leaseId: string) {
    this.#client = client;
    this.#leaseId = leaseId;
  }

  static async open(client: EtcdClient): Promise<EtcdSession> {
    const { ID } = await client.lease.leaseGrant({ TTL: SESSION_TTL_S });
    const session = new EtcdSession(client, ID);
    void session.#keep();
    return session;
  }

  get leaseId(): string {
    return this.#leaseId;
  }

  /** Takes another lease: the present one is no more. */
  async renew(lost: string): Promise<void> {
    if (this.#leaseId !== lost) return;
    const { ID } = await this.#client.lease.leaseGrant({ TTL: SESSION_TTL_S });
    if (this.#leaseId === lost) this.#leaseId = ID;
  }

  async #keep(): Promise<void> {
    while (!this.#isClosed) {
      const leaseId = this.#leaseId;
      try {
        if (!(await this.#keepOnce(leaseId))) await this.renew(leaseId);
        await this.#pause(SESSION_KEEPALIVE_MS);
      } catch {
        // etcd is out of reach. Whether the lease outlives that is for etcd to say.
        await this.#pause(ETCD_RETRY_MS);
      }
    }
  }

  /** Whether the lease is still there. */
  async #keepOnce(leaseId: string): Promise<boolean> {
    const stream = await this.#client.lease.leaseKeepAlive({ deadline: Date.now() + SESSION_TTL_S * 1_000 });
    try {
      return await new Promise<boolean>((resolve, reject) => {
        stream.on("data", ({ TTL }: { TTL: string }) => resolve(Number(TTL) > 0));
        stream.on("error", reject);
        stream.on("end", () => reject(new Error("keep-alive stream ended")));
        stream.write({ ID: leaseId });
      });
    } finally {
      stream.end();
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, ms);
      this.#timer.unref();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#client.lease.leaseRevoke({ ID: this.#leaseId }).catch(() => {});
  }
}
