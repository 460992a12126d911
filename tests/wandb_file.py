"""Reads W&B's own file of an offline run: LevelDB's log format around protobuf records."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

BLOCK, HEADER = 32 * 1024, 7


class OfflineRun(NamedTuple):
    run: Any
    """The protobuf ``RunRecord``: ``run_id``, ``run_group``, ``job_type``, ``display_name``."""
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    metrics: dict[str, str]
    """Metric (or pattern) -> its step metric."""
    exit_code: int | None


def read_records(file: Path) -> list[Any]:
    from wandb.proto import wandb_internal_pb2

    content, place, parts, records = file.read_bytes(), HEADER, b"", []
    assert content[:4] == b":W&B"
    while place + HEADER <= len(content):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        if kind == 0:
            place += left
            continue
        parts += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


def read_run(folder: Path) -> OfflineRun:
    """The one run in ``folder/wandb/offline-run-*``."""
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return read_run_file(file)


def read_run_file(file: Path) -> OfflineRun:
    run, config, history, summary, metrics, code = None, {}, [], {}, {}, None
    for record in read_records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "config":
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            history.append({})
            for item in record.history.item:
                _put(history[-1], item)
        elif kind == "summary":
            for item in record.summary.update:
                _put(summary, item)
        elif kind == "metric":
            metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "exit":
            code = record.exit.exit_code
    return OfflineRun(run, config, history, summary, metrics, code)


def _put(values: dict[str, Any], item: Any) -> None:
    """A value under its key; one inside of another arrives under the keys on its way."""
    *parents, last = item.nested_key or [item.key]
    for name in parents:
        values = values.setdefault(name, {})
    values[last] = json.loads(item.value_json)
