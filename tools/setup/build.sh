# Sourced by ../setup.sh. Owns the builds. cargo and tsc decide themselves what is out of date.

target_dir() {
	echo "${CARGO_TARGET_DIR:-$ROOT/target}"
}

build_rust() {
	local text="building the Rust crates"
	[ -e "$(target_dir)/release/slimfast-launch" ] || text="$text (the first time takes some minutes)"
	(cd "$ROOT" && CLANG="${CLANG:-clang-16}" logged_if_slow "$text" cargo-build cargo build --release --workspace) ||
		die "the Rust crates do not build."
}

# Never written in place: a running agent has the old file mapped.
build_addon() {
	local built addon=$ROOT/crates/slimfast-napi/slimfast.node
	built=$(target_dir)/release/libslimfast_napi.so
	[ -e "$built" ] || die "the Rust build made no addon: $built is missing."
	cmp -s "$built" "$addon" && return 0
	cp "$built" "$addon.new"
	mv -f "$addon.new" "$addon"
}

build_typescript() {
	(cd "$ROOT" && logged_if_slow "building the TypeScript projects" tsc node_modules/.bin/tsc -b) ||
		die "the TypeScript projects do not build."
}

# The programs as they are run: those that are older than something that tsc or npm has written.
build_programs() {
	local program stale=''
	for program in agent cli controller; do
		local built=$ROOT/apps/$program/bundle/main.js
		if [ ! -e "$built" ] || [ -n "$(cd "$ROOT" && find apps/$program/dist apps/$program/*.json libs/*/dist crates/slimfast-napi/dist tools/setup/bundle.mjs tools/setup/start.mjs \
			package-lock.json -newer "$built" -print -quit)" ]; then
			stale="$stale $program"
		fi
	done
	# shellcheck disable=SC2086
	[ -z "$stale" ] || (cd "$ROOT" && logged_if_slow "bundling the programs" bundle node tools/setup/bundle.mjs $stale) ||
		die "the programs cannot be bundled."
}

# The console's page. vite does not know what is out of date: time stamps say it.
build_console() {
	local built=$ROOT/apps/web-console/dist/index.html
	if [ -e "$built" ] && [ -z "$(cd "$ROOT" && find apps/web-console/src apps/web-console/public apps/web-console/index.html \
		apps/web-console/vite.config.ts libs/proto/src libs/ts-client/src package-lock.json -newer "$built" -print -quit)" ]; then
		return 0
	fi
	(cd "$ROOT" && logged_if_slow "building the web console" vite node_modules/.bin/vite build --logLevel warn apps/web-console) ||
		die "the web console does not build."
}
