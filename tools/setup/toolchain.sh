# Sourced by ../setup.sh. Owns the check of what is not installed for the user: Node.js and Rust.

NODE_MINIMUM=20.19.0
RUST_MINIMUM=1.95.0

version_at_least() { # VERSION MINIMUM
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

check_toolchain() {
	command -v node >/dev/null || die "Node.js is not installed (needed: $NODE_MINIMUM or newer)." \
		"Install it from https://nodejs.org/en/download or with your version manager, then run this again."
	local node rust
	node=$(node --version)
	version_at_least "${node#v}" "$NODE_MINIMUM" || die "Node.js ${node#v} at $(command -v node) is too old (needed: $NODE_MINIMUM or newer)." \
		"Install a newer one from https://nodejs.org/en/download, then run this again."
	command -v npm >/dev/null || die "npm is not installed." "It comes with Node.js from https://nodejs.org; on Debian: apt-get install npm"
	if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
		die "Rust is not installed (needed: $RUST_MINIMUM or newer)." \
			"Install it with: curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y" "then run this again."
	fi
	rust=$(rustc --version | cut -d' ' -f2)
	version_at_least "${rust%%-*}" "$RUST_MINIMUM" || die "Rust $rust at $(command -v rustc) is too old (needed: $RUST_MINIMUM or newer)." \
		"Update it with: rustup update stable"
}
