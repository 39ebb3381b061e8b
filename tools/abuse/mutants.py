#!/usr/bin/env python3
"""Takes guards away, one by one, and shows that `./slimfast test abuse` notices: for each of MUTANTS an attempt that it guards against has
to be achieved, which the suite names under "leaked". Policies are no row of that suite: their own tests have to fail.

    tools/abuse/mutants.py [--scratch DIRECTORY] [--only TEXT]...

Works in a copy of the repository, which must be built (./slimfast build), so that nothing of what ships has a switch for it. Mutants that
concern different rows are taken away together, since a run of the suite takes minutes. Needs root, as the suite does. Exit code 1 if the
suite did not notice one. A guard that has been written anew since is said to be out of date.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BPF = "crates/slimfast-core/bpf/"
FILTER = "crates/slimfast-seccomp/src/filter.rs"
PACKAGES = ["--package=slimfast-napi", "--package=slimfast-keeper", "--package=slimfast-launch", "--package=slimfast-preload"]
PRODUCTS = ["slimfast-keeper", "slimfast-launch", "libslimfast_preload.so"]
VITEST = ["node_modules/.bin/vitest", "run", "--config", "e2e/vitest.config.ts", "--dir", "e2e", "src/abuse/"]
# Of several mutants: (file, text, what stands there instead).
EVERY_RANGE_IS_ALLOWED = (BPF + "egress.bpf.h", "if (length && *length >= required)", "if (1 || (length && *length >= required))")


@dataclasses.dataclass
class Mutant:
    guard: str
    # Those of which one attempt at least has to be achieved: the beginning of the line under "leaked".
    row: int
    attempt: str
    # Each is a file, what is in it once, and what is there in its place.
    edits: list
    # What its absence does to other rows would be taken for theirs.
    is_alone: bool = False
    # Of guards that no row is about, or that attempts come upon by chance only: tests that have to fail, as a file and a pattern of
    # their names; of Rust a package, its test and a name.
    tests: tuple = ()


MUTANTS = [
    Mutant(
        "where a container may go: the node's, link-local and metadata addresses",
        1,
        r"connect to (the node's address|169\.254)",
        [EVERY_RANGE_IS_ALLOWED],
    ),
    Mutant(
        "127.0.0.0/8 is the container's own",
        1,
        r"connect to 127\.0\.0\.1",
        [
            (
                BPF + "connect.bpf.h",
                "if (target->flags || target->address == 0 || is_loopback4(target->address)) {",
                "if (target->flags || target->address == 0) {",
            ),
            EVERY_RANGE_IS_ALLOWED,
        ],
    ),
    Mutant(
        "the same on the other ways to connect",
        2,
        r"(sendto MSG_FASTOPEN|TCP_FASTOPEN_CONNECT|connect, AF_UNSPEC, connect) to",
        [EVERY_RANGE_IS_ALLOWED],
    ),
    Mutant(
        "sk_lookup's guard of real ports",
        3,
        r"a listener's real port",
        [(BPF + "dispatch.bpf.h", "if (bpf_map_lookup_elem(&hidden_ports, &hidden))", "if (0 && bpf_map_lookup_elem(&hidden_ports, &hidden))")],
    ),
    Mutant(
        "bind to addresses of others",
        3,
        r"bind to the node's address",
        [
            (
                BPF + "bind.bpf.h",
                "    else\n        return refuse_bind(EADDRNOTAVAIL, SF_COUNTER_binds_not_available);\n    ctx->user_ip4 = 0;",
                "    else\n        class = SF_BIND_ADDRESS4;\n    ctx->user_ip4 = 0;",
            )
        ],
    ),
    Mutant(
        "options that are privileged",
        4,
        r"SO_MARK",
        [(BPF + "options.bpf.h", "return refuse_option(EPERM);", "return 1;")],
    ),
    Mutant(
        "options that no table has",
        4,
        r"(IP_LOCAL_PORT_RANGE|TCP_SAVE_SYN|TCP_REPAIR)",
        [(BPF + "options.bpf.h", "return refuse_option(ENOPROTOOPT);", "return 1;")],
    ),
    Mutant(
        "values that are not told",
        5,
        r"SO_NETNS_COOKIE",
        [(BPF + "options.bpf.h", "value[i] = 0;", "value[i] += 0;")],
    ),
    Mutant(
        "ioctl about interfaces",
        6,
        r"SIOC",
        [
            (
                FILTER,
                "branch(here + 5, JUMP_EQUAL, IOCTL_OF_SOCKETS, here + 6, allow)",
                "branch(here + 5, JUMP_EQUAL, IOCTL_OF_SOCKETS, allow, allow)",
            )
        ],
    ),
    Mutant(
        "a socket has its owner's address, whoever has it",
        7,
        r".*bind the receiver's address",
        [
            (
                BPF + "bind.bpf.h",
                "    else\n        return refuse_bind(EADDRNOTAVAIL, SF_COUNTER_binds_not_available);\n    ctx->user_ip4 = 0;",
                "    else\n        class = SF_BIND_ADDRESS4;\n    ctx->user_ip4 = 0;",
            )
        ],
    ),
    Mutant(
        "listeners are an endpoint's own",
        8,
        r"share a listener",
        [
            (BPF + "bind.bpf.h", "key = {.endpoint = record->owner,", "key = {.endpoint = {.vni = record->owner.vni},"),
            (BPF + "ports.bpf.h", "key = {.endpoint = record->owner,", "key = {.endpoint = {.vni = record->owner.vni},"),
            (BPF + "sockops.bpf.h", "port = {.endpoint = record->owner}", "port = {.endpoint = {.vni = record->owner.vni}}"),
            (BPF + "sockops.bpf.h", "key = {.endpoint = record->owner}", "key = {.endpoint = {.vni = record->owner.vni}}"),
            (BPF + "dispatch.bpf.h", "port_key = {.endpoint = *endpoint,", "port_key = {.endpoint = {.vni = endpoint->vni},"),
            (BPF + "dispatch.bpf.h", " key = {.endpoint = *endpoint,", " key = {.endpoint = {.vni = endpoint->vni},"),
        ],
        is_alone=True,
    ),
    Mutant(
        "io_uring",
        9,
        r"io_uring_setup",
        [(FILTER, "NR_IO_URING_REGISTER, 4, DENY)", "NR_IO_URING_REGISTER, 4, 4)")],
    ),
    Mutant(
        "the limit of sockets",
        10,
        r"more sockets than",
        [
            (
                BPF + "limits.bpf.h",
                "if (__sync_fetch_and_add(&usage->sockets, 1) >= most->sockets) {",
                "if (__sync_fetch_and_add(&usage->sockets, 1) >= (most->sockets | 0x7fffffff)) {",
            )
        ],
    ),
    Mutant(
        "the limit of listeners",
        10,
        r"more listeners than",
        [
            (BPF + "limits.bpf.h", "usage->listeners < most->listeners)", "usage->listeners < 0x7fffffff)"),
            (
                BPF + "limits.bpf.h",
                "if (__sync_fetch_and_add(&usage->listeners, 1) >= most->listeners) {",
                "if (__sync_fetch_and_add(&usage->listeners, 1) >= (most->listeners | 0x7fffffff)) {",
            ),
        ],
    ),
    Mutant(
        "the limit of connections a second",
        10,
        r"connect faster than",
        [(BPF + "limits.bpf.h", "if (next > now + CONNECT_BURST_NS) {", "if (next == 0) {")],
    ),
    Mutant(
        "SYNs are nodes' only",
        12,
        r"SYN of a stranger",
        [
            (
                BPF + "dispatch.bpf.h",
                "    count(SF_COUNTER_syns_unknown_node);\n    return false;",
                "    count(SF_COUNTER_syns_unknown_node);\n    return true;",
            )
        ],
    ),
    Mutant(
        "loopback comes from the node itself",
        12,
        r"SYN of another node: loopback",
        [(BPF + "dispatch.bpf.h", "(SF_OPTION_LOOPBACK | SF_OPTION_LOOPBACK6)) && !from_here) {", "SF_OPTION_SOURCE)) {")],
    ),
    Mutant(
        "the experiment's id in the option",
        12,
        r"SYN of another node: another ExID",
        [(BPF + "dispatch.bpf.h", "option->exid != bpf_htons(SF_OPTION_EXID) ||", "")],
    ),
    Mutant(
        "a loopback of IPv6 is not told by the version of IPv6 addresses",
        12,
        # Those with the node's own address the kernel drops itself.
        r"SYN of another node: loopback.*inet6",
        [
            (
                BPF + "dispatch.bpf.h",
                "(version != SF_OPTION_VERSION6 || option->version_flags & (SF_OPTION_LOOPBACK | SF_OPTION_LOOPBACK6))",
                "version != SF_OPTION_VERSION6",
            )
        ],
    ),
    Mutant(
        "an id is a generation: not that of the next owner",
        14,
        r"SYN to the former owner",
        [
            (
                BPF + "dispatch.bpf.h",
                "flow.source_address = option->source_address;",
                "for (int i = 0; i < 4 && !bpf_map_lookup_elem(&endpoints, &flow.destination); i++)\n"
                "        flow.destination.id++;\n    flow.source_address = option->source_address;",
            )
        ],
    ),
]


MUTANTS += [
    Mutant(
        "a socket whose target has ended before it had it is closed",
        11,
        "",
        [
            (
                "crates/slimfast-core/src/sys/seccomp.rs",
                "                    self.release(id);\n                    return Ok(Answered::TargetGone);",
                "                    self.release(id);\n                    std::mem::forget(fd);\n                    return Ok(Answered::TargetGone);",
            )
        ],
        tests=("slimfast-core", "handout", "supervisor::a_target_killed_while_its_socket_is_made_is_counted"),
    ),
    Mutant(
        "handshakes have room beside a flood",
        13,
        r"flood of another node",
        [(BPF + "handshakes.bpf.h", "    put_into(far, key, flow, hash, false);", "    (void)put_into;")],
        is_alone=True,
    ),
    Mutant(
        "the controller's port is no address that containers reach",
        15,
        r"(a container|nobody): (10\.200\.0\.254|\[::ffff:10\.200\.0\.254)",
        [EVERY_RANGE_IS_ALLOWED],
    ),
    Mutant(
        "roles of tokens",
        16,
        r"(a viewer's token|an operator's token)",
        [("apps/controller/dist/security/authorisation.js", "if (!hasRole(identity, need))", "if (false)")],
    ),
    Mutant(
        "a node speaks for itself only",
        16,
        r"node-1's certificate: (register as|create an endpoint of) the other node",
        [
            (
                "apps/controller/dist/security/authorisation.js",
                "if (node !== undefined && node !== identity.name) {",
                "if (node === null) {",
            )
        ],
    ),
    Mutant(
        "policies at the connecting end",
        0,
        "",
        [
            (
                BPF + "policy.bpf.h",
                "    if (!*(volatile __u32 *)&networks_with_policies)\n        return true;\n    policy",
                "    return true;\n    policy",
            )
        ],
        is_alone=True,
        tests=("src/policies.test.ts", "by labels"),
    ),
    Mutant(
        "policies at the listening end",
        0,
        "",
        [(BPF + "dispatch.bpf.h", "is_allowed_from(endpoint.vni, flow.source_address, key.source, endpoint.id, flow.destination_port))", "true)")],
        is_alone=True,
        tests=("src/policies.test.ts", "holds against a node that has not heard of it"),
    ),
]


def copied(scratch):
    """The repository as it is, built; what an earlier call has copied is brought up to date."""
    scratch.mkdir(parents=True, exist_ok=True)
    left_out = ["--exclude=./target/debug", "--exclude=./target/tmp", "--exclude=./.git"]
    left_out += [f"--exclude=./{name}" for name in ("target", "node_modules") if (scratch / name).exists()]
    with subprocess.Popen(["tar", "-C", ROOT, "-cf", "-", *left_out, "."], stdout=subprocess.PIPE) as source:
        subprocess.run(["tar", "-C", scratch, "-xf", "-"], stdin=source.stdout, check=True)
    # An earlier call may have built a mutant of these: cargo goes by the time, which tar has set back.
    for path in {path for mutant in MUTANTS for path, *_ in mutant.edits}:
        (scratch / path).touch()
    return scratch


def batches(mutants):
    """Of mutants of different rows, which do not mutate the same text in different ways."""
    rest = list(mutants)
    while rest:
        batch, texts = [], {}
        for mutant in rest:
            if batch and (mutant.is_alone or batch[0].is_alone):
                continue
            agrees = all(texts.get((path, before), after) == after for path, before, after in mutant.edits)
            if agrees and all(mutant.row != other.row for other in batch):
                batch.append(mutant)
                texts |= {(path, before): after for path, before, after in mutant.edits}
        rest = [mutant for mutant in rest if mutant not in batch]
        yield batch, texts


def mutated(tree, texts):
    """The files as they were."""
    before = {}
    for (path, text), other in texts.items():
        content = (tree / path).read_text()
        before.setdefault(path, content)
        if content.count(text) != 1:
            sys.exit(f"mutants.py: {path} has {content.count(text)} times, not once: {text}\nBring MUTANTS up to date.")
        (tree / path).write_text(content.replace(text, other))
    return before


def run(tree, *command, **more):
    environment = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}
    environment |= {"NO_COLOR": "1", **more}
    finished = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return finished.returncode, finished.stdout


def build(tree):
    """As for development, which takes seconds, in the place of what is released."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", tree / "target"))
    clang = os.environ.get("CLANG", "clang-16")
    code, output = run(tree, "cargo", "build", *PACKAGES, CLANG=clang, CARGO_TARGET_DIR=str(target))
    if code:
        sys.exit(f"mutants.py: a mutant does not build:\n{output}")
    for name in PRODUCTS:
        shutil.copy2(target / "debug" / name, tree / "target/release" / name)
    shutil.copy2(target / "debug/libslimfast_napi.so", tree / "crates/slimfast-napi/slimfast.node")
    code, output = run(tree, "node", "tools/setup/bundle.mjs", "controller")
    if code:
        sys.exit(f"mutants.py: the controller cannot be bundled:\n{output}")


def keep(tree, output):
    """Of all runs: what was not noticed has to be looked into."""
    with open(tree / "mutants.log", "a") as log:
        log.write(output)


def leaks(tree, rows):
    """What was achieved, a line each, and the rows of which nothing was counted: their tests have failed for another reason."""
    own = [1, 2, 4, 5, 6, 9]
    chosen = ["no attempt on sockets"] if any(row in own for row in rows) else []
    chosen += [f"row {row}:" for row in rows if row not in own]
    _, output = run(tree, *VITEST, "-t", "|".join(chosen))
    keep(tree, output)
    untried = [row for row in rows if not re.search(rf"^row {row} +attempts", output, re.MULTILINE)]
    return re.findall(r"^leaked: (.*)$", output, re.MULTILINE), untried


def has_failed(tree, tests):
    if len(tests) == 3:
        package, target, name = tests
        command = ["cargo", "test", "--package", package, "--test", target, "--", "--exact", name]
        failed = rf"test {name} \.\.\. FAILED"
    else:
        file, name = tests
        command = [*VITEST[:-1], file, "-t", name]
        failed = r"Tests .*\d+ failed"
    code, output = run(tree, *command)
    keep(tree, output)
    # Not for want of a test.
    return code != 0 and re.search(failed, output) is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=pathlib.Path, help="where to work, kept for the next call (default: a directory that is removed)")
    parser.add_argument("--only", action="append", default=[], help="only mutants whose guard contains the text, or one of several")
    options = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if any(text in mutant.guard for text in options.only or [""])]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="slimfast-mutants-") as directory:
        tree = copied(options.scratch or pathlib.Path(directory))
        for batch, texts in batches(mutants):
            before = mutated(tree, texts)
            try:
                build(tree)
                rows = [mutant.row for mutant in batch if not mutant.tests]
                achieved, untried = leaks(tree, rows) if rows else ([], [])
                failed = [mutant for mutant in batch if mutant.tests and has_failed(tree, mutant.tests)]
            finally:
                for path, content in before.items():
                    (tree / path).write_text(content)
            for mutant in batch:
                if mutant.tests:
                    missed += mutant not in failed
                    verdict = "noticed" if mutant in failed else "NOT NOTICED"
                    print(f"{f'row {mutant.row}' if mutant.row else 'policies'} without: {mutant.guard}: {verdict}", flush=True)
                    continue
                wanted = re.compile(rf"row {mutant.row}: {mutant.attempt}")
                found = [line for line in achieved if wanted.match(line)]
                missed += not found
                verdict = f"noticed, {len(found)} leaked" if found else "NOT NOTICED"
                if mutant.row in untried:
                    verdict = f"NOT TRIED, see {tree}/mutants.log"
                print(f"row {mutant.row:2} without: {mutant.guard}: {verdict}", flush=True)
    print(f"{len(mutants)} guards taken away, {missed} not noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
