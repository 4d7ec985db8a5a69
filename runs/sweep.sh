#!/usr/bin/env bash
# The README's sweep: hidden sizes under the recipe `fast`, on a validation split.
#   bash runs/sweep.sh > sweep.csv
# What is said after it, as `-S train.epochs=2`, is said to `dvc exp run`.
set -euo pipefail

# shellcheck disable=SC2046 # each word of the recipe is an argument
dvc exp run --queue $(cat recipes/fast) -S 'model.hdim=16,32,64,128,256,512' \
    -S prepare.valid_size=5000 "$@" >&2
dvc queue start >&2
while status=$(dvc queue status) && [[ $status =~ Queued|Running ]]; do sleep 5; done
if [[ $status == *Failed* ]]; then
    printf '%s\n' "$status" >&2
    exit 1
fi
dvc exp show --csv
