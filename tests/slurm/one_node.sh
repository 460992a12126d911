#!/usr/bin/env bash
# A SLURM of this one machine, for tests: all it writes lies in one folder, and nothing outlives `stop`.
#   tests/slurm/one_node.sh start DIR     then: export SLURM_CONF=DIR/slurm.conf
#   tests/slurm/one_node.sh stop DIR
# Needs root. Where slurm-wlm and munge are missing, apt-get installs them (14 MB).
# exit codes: 0 done; 77 this machine cannot have one, the reason is on stderr; 1 it did not start.
set -euo pipefail

refuse() {
    echo "no SLURM here: $1" >&2
    exit 77
}

start() {
    local dir=$1 host
    [[ $(id -u) == 0 ]] || refuse "its daemons need root"
    if ! command -v slurmctld slurmd munged srun > /dev/null; then
        command -v apt-get > /dev/null || refuse "slurm-wlm and munge are not installed and there is no apt-get"
        (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge) \
            > "$dir/apt.log" 2>&1 || refuse "apt-get cannot install slurm-wlm and munge: $(tail -1 "$dir/apt.log")"
    fi
    host=$(hostname -s)
    mkdir -p "$dir/state" "$dir/spool"
    head -c 128 /dev/urandom > "$dir/munge.key"
    chmod 600 "$dir/munge.key"
    cat > "$dir/slurm.conf" << CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=30
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=60
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$dir/slurm.conf
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munged.seed" 2> "$dir/munged.err"
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF"
    for _ in $(seq 60); do
        [[ $(sinfo --noheader --format=%T 2> /dev/null) == idle ]] && return
        sleep 1
    done
    tail -3 "$dir"/*.log >&2
    stop "$dir"
    echo "SLURM did not start within a minute" >&2
    exit 1
}

stop() {
    local dir=$1 daemon
    for daemon in slurmd slurmctld munged; do
        [[ -e $dir/$daemon.pid ]] && kill "$(cat "$dir/$daemon.pid")" 2> /dev/null || true
    done
}

"$1" "$2"
