#!/bin/sh
# Builds the programs that the tests run as applications into bin/, those whose source has changed.
set -eu
cd "$(dirname "$0")"
mkdir -p bin
# Test files that start at the same time all call this.
exec 9>bin/lock
flock 9

outdated() { # PRODUCT SOURCE
	[ ! -e "bin/$1" ] || [ "$2" -nt "bin/$1" ] || [ build.sh -nt "bin/$1" ]
}

# A product appears complete or not at all: it may be in use, and this script may be stopped.
compile() { # PRODUCT SOURCE COMMAND...
	product=$1 source=$2
	shift 2
	outdated "$product" "$source" || return 0
	"$@" -o "bin/$product.new" "$source"
	mv -f "bin/$product.new" "bin/$product"
}

compile names names.c gcc -O2 -Wall -Wextra -Werror
compile names-static names.c gcc -O2 -static
compile names-musl names.c musl-gcc -O2
compile abuse abuse.c gcc -O2 -Wall -Wextra -Werror
compile interrupted interrupted.c gcc -O2 -pthread -Wall -Wextra -Werror
compile doors doors.c gcc -O2 -static -Wall -Wextra -Werror
compile echo-static echo.c gcc -O2 -static -Wall -Wextra -Werror

go=$(command -v go || echo /usr/local/go/bin/go)
# Only the toolchain that is here; the program needs nothing but the standard library.
GOTOOLCHAIN=local CGO_ENABLED=0 compile echo-go echo.go "$go" build
GOTOOLCHAIN=local CGO_ENABLED=0 compile http-go apps/http.go "$go" build

# javac names its products itself, and writes several; without the option it leaves a directory in /tmp, too.
if outdated Servers.class apps/Servers.java; then
	rm -rf bin/java.new
	javac -J-XX:-UsePerfData -d bin/java.new apps/Servers.java
	mv -f bin/java.new/*.class bin/
	rmdir bin/java.new
fi
