#!/usr/bin/env bash
# Refuses any dependency edge between our crates that the layering does not allow (ARCHITECTURE.md, "Layers").
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A may=(
  [overlay-core]="" [overlay-gossip]="" [overlay-ipam]="" [overlay-lb]="" [overlay-raft]=""
  [overlay-linux]="overlay-core"
  [swarm-state]="overlay-core overlay-ipam"
  [swarm-node]="overlay-core overlay-gossip overlay-ipam overlay-lb overlay-raft overlay-linux swarm-state"
  [swarm-docker]="swarm-node swarm-state overlay-ipam overlay-core"
  [swarm-sim]="*"
  [swarm-bin]="swarm-docker swarm-node swarm-state overlay-linux overlay-core"
)
bad=0
for manifest in */Cargo.toml; do
  crate=${manifest%/Cargo.toml}
  [ -n "${may[$crate]+set}" ] || { echo "layers: $crate is not in the table of tools/layers.sh"; bad=1; continue; }
  [ "${may[$crate]}" = "*" ] && continue
  for dep in $(sed -n '/^\[dependencies\]/,/^\[/p' "$manifest" | grep -oE '^(overlay|swarm)-[a-z]+' || true); do
    case " ${may[$crate]} " in
      *" $dep "*) ;;
      *) echo "layers: $crate must not depend on $dep"; bad=1 ;;
    esac
  done
done
# Unsafe code lives in overlay-linux alone.
for lib in overlay-core overlay-gossip overlay-ipam overlay-lb overlay-raft swarm-state swarm-node swarm-docker swarm-sim swarm-bin; do
  root=$lib/src/lib.rs; [ -f "$root" ] || root=$lib/src/main.rs
  grep -q '^#!\[forbid(unsafe_code)\]' "$root" || { echo "layers: $root lacks #![forbid(unsafe_code)]"; bad=1; }
done
[ "$bad" = 0 ] && echo "layers: ok"
exit "$bad"
