#!/usr/bin/env bash
# A sweep as an array of Slurm jobs, one experiment a job, from the project's folder:
#   sbatch --array=0-3 --gpus=1 runs/slurm.sh
# Then, at home: dvc exp pull origin
# What is said after it, as `-S train.epochs=2`, is said to `dvc exp run`.
set -euo pipefail

settings=(model.hdim=16 model.hdim=32 model.hdim=64 model.hdim=128)
setting=${settings[$SLURM_ARRAY_TASK_ID]}
name=slurm-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID

cd "$SLURM_SUBMIT_DIR"
commit=$(git rev-parse HEAD)
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet "$(git remote get-url origin)" "$clone"
cd "$clone"
git checkout --quiet "$commit"
dvc exp run --name "$name" -S "$setting" -S prepare.valid_size=5000 "$@"
dvc push # first: a name on the Git remote says that the data are there
dvc exp push origin "$name"
# To `dvc exp push` a name that another pushed is no error; here it is one.
pushed=$(git ls-remote origin "refs/exps/*/$name" | cut -f1)
[ "$pushed" = "$(git for-each-ref --format='%(objectname)' "refs/exps/**/$name")" ]
