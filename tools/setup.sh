#!/usr/bin/env bash
# Sets up what `make` needs and cannot say in a rule: virtual environments, Debian packages, npm clients.
set -euo pipefail

say() { echo "setup: $*" >&2; }

is_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Install Debian packages as root, refreshing the package lists when they are empty or old.
debian_install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --yes --quiet --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get update --quiet >/dev/null && apt-get install --yes --quiet --no-install-recommends "$@" >/dev/null; }
}

# The first Python that zvmd runs on; 3.12 and 3.11 first, which have LevelDB. The last refusal says what is missing.
find_python() {
    local candidate said refusal="no Python 3.11 to 3.13 was found"
    for candidate in ${PYTHON:-} python3.12 python3.11 python3 python3.13; do
        command -v "$candidate" >/dev/null || continue
        if said=$("$candidate" -c 'from zvmd.platforms import Platform, check; check(Platform.here())' 2>&1); then
            echo "$candidate"
            return
        fi
        [[ $said == *UnsupportedPlatform:* ]] && refusal=${said##*UnsupportedPlatform: }
    done
    say "$refusal; set PYTHON=/path/to/python3"
    return 1
}

make_venv() {
    local python
    python=$(find_python)
    if ! "$python" -m venv "$1" 2>/dev/null; then
        rm -rf "$1"
        is_root || { say "$python cannot make a virtual environment: install python3-venv"; return 1; }
        debian_install python3-venv
        "$python" -m venv "$1"
    fi
    # dependency groups (pip install --group) came with pip 25.1
    "$1/bin/python" -m pip install -qq --upgrade 'pip>=25.1'
}

# Programs that tests use: command, Debian package, what is skipped without it.
DEBIAN_TOOLS="systemd-analyze:systemd:the unit file tests
ip:iproute2:the tests with a network namespace as a container
chromium:chromium:the tests with pages in a browser
qemu-aarch64-static:qemu-user-static:the tests that run machine code of AArch64"

debian_tools() {
    local command package skipped
    while IFS=: read -r command package skipped; do
        command -v "$command" >/dev/null && continue
        if is_root && debian_install "$package" </dev/null; then
            say "installed $package (for $command)"
        else
            say "no $command and no way to install it: $skipped will be skipped"
        fi
    done <<<"$DEBIAN_TOOLS"
}

client_tools() {
    mkdir -p "$1"
    if ! command -v npm >/dev/null; then
        say "no npm: the tests with cast and ethers, and the comparison with anvil, will be skipped"
        return
    fi
    cp tests/clients/package.json "$1/package.json"
    if ! npm install --prefix "$1" --no-audit --no-fund --no-package-lock --loglevel=error >&2; then
        say "npm could not install cast, anvil and ethers: tests and benchmarks with them will be skipped"
    fi
    hardhat_project "$1"
}

# Hardhat 3 wants Node.js 22, which npm brings as a package; npm itself runs with it too, because with an older one it
# leaves out what belongs to Hardhat. `hardhat/` lies beside the other clients' modules.
hardhat_project() {
    local node
    node=$(echo "$1"/node_modules/node-linux-*/bin)
    mkdir -p "$1/hardhat"
    cp tests/clients/hardhat/package.json "$1/hardhat/package.json"
    if ! PATH="$(realpath "$node"):$PATH" npm install --prefix "$1/hardhat" --no-audit --no-fund --no-package-lock \
        --loglevel=error >&2; then
        say "npm could not install Hardhat and viem: tests with them will be skipped"
    fi
}

more_clients() {
    mkdir -p "$1"
    cp tests/clients/more/package.json "$1/package.json"
    npm install --prefix "$1" --no-audit --no-fund --no-package-lock --loglevel=error >&2
    make_venv "$1/venv"
    "$1/venv/bin/pip" install -qq --requirement tests/clients/more/requirements.txt
}

oracles() {
    mkdir -p "$1"
    if ! { make_venv "$1" && "$1/bin/pip" install -qq --requirement tests/differential/requirements.txt; } >&2; then
        say "the execution specification could not be installed: comparisons with it will be skipped"
    fi
}

case "${1:-}" in
    venv) make_venv "$2" ;;
    debian) debian_tools ;;
    clients) client_tools "$2" ;;
    more-clients) more_clients "$2" ;;
    oracles) oracles "$2" ;;
    *) say "usage: setup.sh venv DIR | debian | clients DIR | more-clients DIR | oracles DIR"; exit 2 ;;
esac
