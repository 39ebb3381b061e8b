/** Connections of the load generators. */
import { type Channel, type ChannelCredentials, createChannel } from "nice-grpc";

/** @param address `unix:/path` or `host:port`. */
export function openChannel(address: string, credentials?: ChannelCredentials): Channel {
  return createChannel(address.replace(/^unix:/, "unix://"), credentials, {
    "grpc.enable_http_proxy": 0,
    "grpc.max_receive_message_length": 16 * 1024 * 1024,
    // A connection for each channel: real agents are on machines of their own.
    "grpc.use_local_subchannel_pool": 1,
  });
}
