# Sourced by ../../slimfast and ../setup.sh (POSIX sh). Owns the question "has anything changed since the last complete
# set-up?", answered from time stamps alone: a stamp file per package set, as old as the *start* of the set-up that wrote
# it, so that an edit during a build counts as a change. It must stay fast: every command of the user waits for it.

# What has to be equal besides time stamps: the tools that compiled modules are bound to, and where the output is.
setup_fingerprint() {
	node_path=$(command -v node) || node_path=none
	cargo_path=$(command -v cargo) || cargo_path=none
	stat -L -c '%n %Y %s' "$node_path" "$cargo_path" 2>/dev/null || :
	echo "target ${CARGO_TARGET_DIR-}"
}

setup_stamp() { # ROOT SET
	echo "$1/.slimfast/setup-$2.stamp"
}

# Directories count too: their time changes when a file in them is added or removed.
is_fresh() { # ROOT SET
	stamp=$(setup_stamp "$1" "$2")
	[ -e "$stamp" ] && [ -e "$1/apps/cli/bundle/main.js" ] && [ -e "$1/node_modules/.slimfast-stamp" ] || return 1
	[ "$(cat "$stamp")" = "$(setup_fingerprint)" ] || return 1
	[ -z "$(cd "$1" && find tools/setup.sh tools/setup package-lock.json package.json Cargo.toml Cargo.lock tsconfig.base.json \
		apps/*/src apps/web-console/public apps/web-console/index.html apps/web-console/vite.config.ts apps/*/package.json apps/*/tsconfig.json libs/*/src libs/*/package.json libs/*/tsconfig.json \
		crates/*/src crates/*/bpf crates/*/ts crates/*/build.rs crates/*/Cargo.toml crates/*/package.json crates/*/tsconfig.json \
		tools/*/src tools/*/Cargo.toml e2e/src e2e/package.json \
		-newer "$stamp" -print -quit 2>/dev/null)" ]
}
