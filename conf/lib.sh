# Shared by conf/up, tests/run and bench/compare; source it, it starts nothing by itself.
# shellcheck shell=bash
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
JOBS=${JOBS:-2}
export REPO JOBS

# Say TEXT: a line for people. Progress TEXT: the same, with the time since the start.
Say() { printf '%s\n' "$*"; }
Progress() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

# Fail WHAT REMEDY: ends the script and leaves nobody without an idea of what to do next.
Fail() {
  printf 'error: %s\nremedy: %s\n' "$1" "$2" >&2
  exit 1
}

# AsRoot COMMAND...: runs it as root, through sudo where we are not root.
AsRoot() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -n "$@" || Fail "sudo refused to run: $*" "run this script as root, or allow sudo without a password"
  else
    Fail "root is needed for: $*" "run this script as root, or install sudo"
  fi
}

# PackagesOf GROUP...: the names in those groups of conf/packages.txt, one a line, without those
# whose "?command" is there already.
PackagesOf() {
  local group name guard
  for group in "$@"; do
    grep -qx "\[$group\]" "$REPO/conf/packages.txt" ||
      Fail "conf/packages.txt has no group [$group]" "use one of: $(sed -n 's/^\[\(.*\)\]$/\1/p' "$REPO/conf/packages.txt" | tr '\n' ' ')"
    while read -r name guard; do
      if [ -n "$guard" ] && command -v "${guard#\?}" >/dev/null; then continue; fi
      printf '%s\n' "$name"
    done < <(sed -n "/^\[$group\]\$/,/^\[/{s/#.*//;/^\[/d;s/[ \t]*\$//;/./p}" "$REPO/conf/packages.txt")
  done
}

# Missing PACKAGE...: those that dpkg does not have installed.
Missing() {
  local name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
  done
}

# InstallPackages GROUP...: idempotent; asks apt for nothing when nothing is missing. The servers
# among them (prosody, haproxy, knot) would start on their default ports at once: they are kept
# from it, unless the machine has a policy of its own.
InstallPackages() {
  local wanted missing log policy=/usr/sbin/policy-rc.d own_policy=0 ok=1
  command -v dpkg-query >/dev/null ||
    Fail "this is not a Debian system" "use Debian 12, or install the packages of conf/packages.txt by hand"
  mapfile -t wanted < <(PackagesOf "$@")
  mapfile -t missing < <(Missing "${wanted[@]}")
  if [ "${#missing[@]}" -eq 0 ]; then return 0; fi
  Progress "installing ${#missing[@]} packages: ${missing[*]}"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  AsRoot apt-get -qq update >"$log" 2>&1 || {
    cat "$log" >&2
    Fail "apt-get update failed" "check /etc/apt/sources.list and the network"
  }
  if [ ! -e "$policy" ]; then
    own_policy=1
    printf '#!/bin/sh\nexit 101\n' | AsRoot tee "$policy" >/dev/null
    AsRoot chmod 755 "$policy"
  fi
  AsRoot apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1 || ok=0
  if [ "$own_policy" -eq 1 ]; then AsRoot rm -f "$policy"; fi
  if [ "$ok" -eq 0 ]; then
    tail -n 30 "$log" >&2
    Fail "apt-get install failed" "see the lines above; the packages are Debian 12's, listed in conf/packages.txt"
  fi
  rm -f "$log"
}

# Configure PRESET: quiet when all goes well.
Configure() {
  local log=$REPO/build/$1/configure.log
  mkdir -p "$REPO/build/$1"
  (cd "$REPO" && cmake --preset "$1") >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    Fail "the $1 build could not be configured" "see the lines above; the whole log is $log"
  }
}

# Build PRESET [TARGET...]: configures and builds; a line of how far it is every few seconds, the
# compiler's words only when it fails.
Build() {
  local preset=$1 target args=() log=$REPO/build/$1/build.log builder at last=""
  shift
  for target in "$@"; do args+=(--target "$target"); done
  Configure "$preset"
  Progress "building $preset"
  (cd "$REPO" && exec cmake --build --preset "$preset" --parallel "$JOBS" "${args[@]}") >"$log" 2>&1 &
  builder=$!
  while kill -0 "$builder" 2>/dev/null; do
    # Woken early when the build ends.
    timeout 5 tail --pid="$builder" -f /dev/null 2>/dev/null || true
    at=$(tail -c 4096 "$log" | tr '\r' '\n' | sed -n 's/^\[\([0-9]*\)\/\([0-9]*\)\].*/\1 of \2/p' | tail -n 1)
    if [ -n "$at" ] && [ "$at" != "$last" ]; then Progress "building $preset: $at"; fi
    last=$at
  done
  wait "$builder" || {
    grep -aE 'error|FAILED' "$log" | head -n 20 >&2 || true
    tail -n 40 "$log" >&2
    Fail "the $preset build failed" "see the lines above; the whole log is $log"
  }
}

# NpmClient: @xmpp/client below build/, once; the source tree stays clean.
NpmClient() {
  local from=$REPO/tests/e2e/js to=$REPO/build/e2e-js log
  mkdir -p "$to"
  if [ -d "$to/node_modules/@xmpp/client" ] && cmp -s "$from/package-lock.json" "$to/package-lock.json"; then
    return 0
  fi
  Progress "installing @xmpp/client"
  log=$to/npm.log
  cp "$from/package.json" "$from/package-lock.json" "$to/"
  (cd "$to" && npm ci --no-audit --no-fund --ignore-scripts) >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    Fail "npm could not install @xmpp/client" "check the npm registry (npm config get registry) and $log"
  }
}
