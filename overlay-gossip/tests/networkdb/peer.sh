#!/bin/sh
# Builds a node of Docker's NetworkDB from Debian's sources, for the test in this directory:
#
#   sudo apt-get install golang-go golang-github-docker-docker-dev golang-github-hashicorp-memberlist-dev dpkg-dev xz-utils
#   overlay-gossip/tests/networkdb/peer.sh /usr/local/bin/networkdb-peer
#
# Debian packages only parts of libnetwork for Go, so that its source is fetched (apt-get source docker.io).
set -eu
out=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial"
sed 's/^Types: deb$/Types: deb-src/; s/^deb /deb-src /' /etc/apt/sources.list.d/debian.sources > "$work/src.sources"
cd "$work"
apt="apt-get -q -o Dir::Etc::sourcelist=$work/src.sources -o Dir::Etc::sourceparts=- -o Dir::State::lists=$work/lists"
$apt update
$apt source --download-only docker.io
mkdir -p go/src/github.com/docker
tar -xf docker.io_*.orig-libnetwork.tar.xz -C go/src/github.com/docker
GO111MODULE=off GOFLAGS='' GOCACHE="$work/cache" GOPATH="$work/go:/usr/share/gocode" go build -o "$out" "$here/peer.go"
echo "built $out"
