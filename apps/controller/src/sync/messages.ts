/** Documents as the messages of Sync, made once for all streams that carry them. */

import type * as proto from "@slimfast/proto";
import type { Endpoint, Network, Node, Policy } from "../domain/resources.js";
import { endpointMessage, networkMessage, nodeMessage, policyMessage } from "../messages.js";
import type { SyncKind } from "./keys.js";

/** Documents are never changed, only replaced: a message is good for as long as its document. */
class MessagesOf<Document extends object, Message> {
  readonly #messages = new WeakMap<Document, Message>();
  readonly #make: (document: Document) => Message;

  constructor(make: (document: Document) => Message) {
    this.#make = make;
  }

  get(document: Document): Message {
    let message = this.#messages.get(document);
    if (!message) {
      message = this.#make(document);
      this.#messages.set(document, message);
    }
    return message as Message;
  }
}

export class SyncMessages {
  readonly #connectedNodes = new MessagesOf((node: Node) => nodeMessage(node, true));
  readonly #goneNodes = new MessagesOf((node: Node) => nodeMessage(node, false));
  readonly #networks = new MessagesOf(networkMessage);
  readonly #endpoints = new MessagesOf(endpointMessage);
  readonly #policies = new MessagesOf(policyMessage);
  readonly #isConnected: (node: string) => boolean;

  constructor(isConnected: (node: string) => boolean) {
    this.#isConnected = isConnected;
  }

  push(response: proto.SyncResponse, kind: SyncKind, document: Node | Network | Endpoint | Policy): void {
    if (kind === "node") {
      const node = document as Node;
      response.nodes.push((this.#isConnected(node.name) ? this.#connectedNodes : this.#goneNodes).get(node));
    } else if (kind === "network") response.networks.push(this.#networks.get(document as Network));
    else if (kind === "endpoint") response.endpoints.push(this.#endpoints.get(document as Endpoint));
    else response.policies.push(this.#policies.get(document as Policy));
  }
}
