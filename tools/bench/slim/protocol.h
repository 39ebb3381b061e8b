/* What shim and router say to each other over the router's SOCK_SEQPACKET socket, and what a router says to a client
 * over the overlay connection. Owns nothing else. */
#ifndef SLIM_PROTOCOL_H
#define SLIM_PROTOCOL_H

#include <stdint.h>

/* Shim to router. */
enum slim_request_kind {
    /* "Send me `count` host sockets": each comes as a message of its own, one byte with the descriptor. */
    SLIM_SOCKETS = 1,
    /* "Answer on this listener": an overlay listener is attached, `port` is that of the host listener beside it. */
    SLIM_LISTENER = 2,
};

struct slim_request {
    uint8_t kind;
    uint8_t count;
    uint16_t port; /* network order */
};

/* Router to client, over the overlay connection: where the host connection goes. Network order. */
struct slim_host_address {
    uint32_t address;
    uint16_t port;
} __attribute__((packed));

#endif
