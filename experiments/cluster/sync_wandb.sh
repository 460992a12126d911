#!/usr/bin/env bash
# Send offline W&B runs from a machine that has a network, also while they are being trained:
#   experiments/cluster/sync_wandb.sh runs        once
#   experiments/cluster/sync_wandb.sh runs 300    every 300 seconds, until Ctrl-C
# A run that changed since it was last sent is sent with all its parts: one for each time it was resumed.
set -euo pipefail

root=${1:?the folder of the runs, as output.root} every=${2:-0}

while true; do
    while IFS= read -r -d '' folder; do
        sent="$folder/.sent"
        if [[ -e $sent && -z $(find "$folder" -name 'run-*.wandb' -newer "$sent" -print -quit) ]]; then
            continue
        fi
        touch "$sent.next"
        if wandb sync --include-synced "$folder"/offline-run-*; then
            mv "$sent.next" "$sent"
        else
            rm "$sent.next"
            echo "W&B: $folder could not be sent; it is tried again next time" >&2
        fi
    done < <(find "$root" -type d -path '*/wandb/offline-run-*' -prune -printf '%h\0' | sort -zu)
    ((every > 0)) || break
    sleep "$every"
done
