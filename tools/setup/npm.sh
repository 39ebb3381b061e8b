# Sourced by ../setup.sh. Owns node_modules: installed from package-lock.json, once per content of it.

# better-sqlite3 asks for -O3, with which gcc takes three times as long for the one file that SQLite is; what stands here
# comes after that. Whoever sets CFLAGS has his own.
compiled_soon() { # COMMAND...
	env CFLAGS="${CFLAGS--O1}" CXXFLAGS="${CXXFLAGS--O1}" "$@"
}

install_node_modules() {
	local stamp=$ROOT/node_modules/.slimfast-stamp wanted
	wanted=$(sha256sum <"$ROOT/package-lock.json" | cut -d' ' -f1)
	if [ "$(cat "$stamp" 2>/dev/null || :)" = "$wanted" ]; then
		return 0
	fi
	# A developer's own `npm install` leaves no stamp, but may have done all there is to do.
	if ! node "$ROOT/tools/setup/installed-as-locked.mjs" "$ROOT"; then
		say "installing npm packages"
		(cd "$ROOT" && logged npm-ci compiled_soon npm ci --no-audit --no-fund --loglevel=error) || die "npm ci failed."
	fi
	build_sqlite
	echo "$wanted" >"$stamp"
}

# npm may hold install scripts back (11.x does unless package.json allows them), and a Node.js of another major version
# needs another build.
build_sqlite() {
	local probe='new (require("better-sqlite3"))(":memory:").close()'
	(cd "$ROOT" && node -e "$probe") >/dev/null 2>&1 && return 0
	say "building better-sqlite3"
	(cd "$ROOT" && logged npm-rebuild compiled_soon npm rebuild better-sqlite3 --foreground-scripts) || die "better-sqlite3 could not be built."
	(cd "$ROOT" && node -e "$probe") || die "better-sqlite3 was built but does not load."
}
