#!/bin/sh
# The offline job: a log becomes tables in /runs, a trained model, and a sealed bundle in /bundles.
#
#   DATA         source of `python -m model data` (synthetic)
#   DATA_OPTIONS its options: --source FOLDER, or the size of a synthetic world
#   TRAINING     options of `python -m model train`
#   EXPORT       options of `python -m model export`
#   NAME         of the bundle in /bundles (the time of the start)
#
# If there is no current bundle, the new one becomes current. Otherwise it waits for POST /admin/bundles/load, whose
# promotion gate compares it with the current one.
set -eu

name=${NAME:-$(date -u +%Y%m%d-%H%M%S)}
work=/runs/$name
mkdir -p "$work"
# shellcheck disable=SC2086  # options are words
python -m model data "${DATA:-synthetic}" --out "$work/data" ${DATA_OPTIONS:-}
# shellcheck disable=SC2086
python -m model train --data "$work/data" --out "$work/run" ${TRAINING:-}
# shellcheck disable=SC2086
python -m model export --run "$work/run" --out "/bundles/$name" ${EXPORT:-}
if [ -e /bundles/current ]; then
    echo "/bundles/$name is sealed; POST /admin/bundles/load {\"bundle\": \"$name\"} serves it"
else
    python -m index_store promote /bundles "$name"
fi
