/**
 * The other controllers of the cluster: asked for their share of an answer, all at once and not for long. What one does
 * not add in time is left out, and logged.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { OperationsServiceClient } from "@slimfast/proto";
import type { Logger } from "pino";
import { PEER_ANSWER_MS } from "./limits.js";

export interface Peer {
  readonly name: string;
  readonly operations: OperationsServiceClient;
}

export interface Peers {
  /** Those that are known now, without this controller. */
  list(): readonly Peer[];
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** @returns The answers that came in time, and why others did not. */
export async function askPeers<Answer>(
  peers: Peers,
  log: Logger,
  ask: (peer: Peer, signal: AbortSignal) => Promise<Answer>,
): Promise<{ answers: Answer[]; failures: unknown[] }> {
  const answers: Answer[] = [];
  const failures: unknown[] = [];
  await Promise.all(
    peers.list().map(async (peer) => {
      const timeout = AbortSignal.timeout(PEER_ANSWER_MS);
      try {
        answers.push(await ask(peer, timeout));
      } catch (error) {
        failures.push(error);
        const reason = timeout.aborted ? `no answer within ${PEER_ANSWER_MS} ms` : reasonOf(error);
        log.warn({ peer: peer.name, reason }, "another controller did not answer");
      }
    }),
  );
  return { answers, failures };
}

export interface FollowOptions<Item> {
  readonly peers: Peers;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly open: (peer: Peer, signal: AbortSignal) => AsyncIterable<Item>;
  readonly onItem: (peer: string, item: Item) => void;
  /** The peer's stream has ended; it is opened again as long as the peer is known. */
  readonly onLost: (peer: string) => void;
}

/** Keeps a stream to every other controller open, those that come later included, until the signal. */
export async function followPeers<Item>(options: FollowOptions<Item>): Promise<void> {
  const { peers, signal } = options;
  const followed = new Set<string>();
  while (!signal.aborted) {
    for (const peer of peers.list()) {
      if (followed.has(peer.name)) continue;
      followed.add(peer.name);
      void followPeer(peer, options).finally(() => followed.delete(peer.name));
    }
    await sleep(PEER_ANSWER_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function followPeer<Item>(peer: Peer, options: FollowOptions<Item>): Promise<void> {
  const { open, onItem, onLost, signal, log } = options;
  try {
    for await (const item of open(peer, signal)) onItem(peer.name, item);
  } catch (error) {
    if (!signal.aborted)
      log.warn({ peer: peer.name, reason: reasonOf(error) }, "the stream of another controller ended");
  } finally {
    if (!signal.aborted) onLost(peer.name);
  }
}
