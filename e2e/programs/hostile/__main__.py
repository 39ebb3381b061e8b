"""What a hostile container, or somebody on the wire, may try, where it takes two to try it. See the module of each."""

import sys

import forging
import holding
import interrupting
import sharing
import sweeping

PARTS = {
    "listen": sharing.listen,
    "ask": sharing.ask,
    "knock": sharing.knock,
    "give": sharing.give,
    "receive": sharing.receive,
    "move": sharing.move,
    "hold": holding.hold,
    "storm": holding.storm,
    "interrupt": interrupting.interrupt,
    "forge": forging.forge,
    "flood": forging.flood,
    "sweep": sweeping.sweep,
}

PARTS[sys.argv[1]](*sys.argv[2:])
