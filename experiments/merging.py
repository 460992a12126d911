"""Typed merging: plain mappings onto a schema of dataclasses, every mistake told in one line with its full key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class ConfigError(ValueError):
    """A mistake in a configuration; one line that names where it stands, the key and the fix."""


def merge(schema: DictConfig, values: Mapping[Any, Any], source: str) -> None:
    """Set ``values`` (nested mappings) on ``schema`` in place; lists are replaced whole.

    Args:
        schema: a structured configuration; a section that is null becomes its dataclass once a key of it is set.
        source: where the values come from, for messages.

    Raises:
        ConfigError: an unknown key (with the nearest valid one), a value of the wrong type, or an interpolation.
    """
    _merge(schema, values, "", source, schema)


def read_override(text: str) -> dict[str, Any]:
    """``"optimizer.lr=0.1"`` -> ``{"optimizer": {"lr": 0.1}}``; the value is YAML.

    Raises:
        ConfigError: no ``=``, an empty key, or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ConfigError(f"command line: {text!r} is not key=value")
    parsed: Any = Raw(value, read_yaml(value, f"command line: {key}"))
    if isinstance(parsed.value, (dict, list)):
        parsed = parsed.value
    for part in reversed(key.split(".")):
        parsed = {part.strip(): parsed}
    return parsed


class Raw:
    """A scalar of the command line: as YAML reads it, and as it was typed, which a text field takes."""

    def __init__(self, text: str, value: Any) -> None:
        self.text = text
        self.value = value


def read_yaml(text: str, source: str) -> Any:
    """Plain YAML data. Tags, aliases, repeated keys and interpolations are refused; nothing is executed.

    Raises:
        ConfigError: naming ``source`` and, in a file, the line.
    """
    try:
        return _read(text, source, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # libyaml's takes a tenth of the time
    except yaml.YAMLError:
        pass
    try:
        return _read(text, source, yaml.SafeLoader)  # its messages name the line of the mistake
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "not valid YAML"
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{_at(source, mark)}: {problem}") from error


def _read(text: str, source: str, kind: Any) -> Any:
    loader = kind(text)
    root = loader.get_single_node()
    if root is None:
        return None
    _refuse_specials(root, source, set())
    return loader.construct_document(root)


def read_yaml_file(path: Path) -> Any:
    """``read_yaml`` of a file.

    Raises:
        ConfigError: the file cannot be read, or as ``read_yaml``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    return read_yaml(text, str(path))


def did_you_mean(word: str, known: list[str]) -> str:
    """``"; did you mean x?"``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def all_keys(node: DictConfig) -> list[str]:
    """Every dotted key that can be set, sections included."""
    return list(_keys(node, ""))


def _keys(node: DictConfig, prefix: str) -> Iterator[str]:
    for name, kind in _hints(node).items():
        yield f"{prefix}{name}"
        child = node._get_node(name)
        section = _section(kind)
        if isinstance(child, DictConfig) and not child._is_none() and OmegaConf.get_type(child) is not dict:
            yield from _keys(child, f"{prefix}{name}.")
        elif section is not None:
            yield from _keys(OmegaConf.structured(section), f"{prefix}{name}.")


def _merge(node: DictConfig, values: Mapping[Any, Any], prefix: str, source: str, root: DictConfig) -> None:
    hints = _hints(node)
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in hints:
            raise ConfigError(f"{source}: {key}: no such key{_nearest_key(key, root)}")
        child = node._get_node(name)
        section = _section(hints[name]) or (OmegaConf.get_type(child) if _is_section(child) else None)
        if section is None:
            _assign(node, name, hints[name], value, key, source)
        elif isinstance(value, Mapping):
            if child is None or child._is_none():
                node[name] = OmegaConf.structured(section)
            _merge(node[name], value, f"{key}.", source, root)
        elif _plain(value) is None and type(None) in get_args(hints[name]):
            node[name] = None
        elif _plain(value) is not None:  # a section that a file leaves empty sets nothing
            raise ConfigError(f"{source}: {key}: is a section; set one of its keys, for example {_example(node, key)}")


def _assign(node: DictConfig, name: str, kind: Any, value: Any, key: str, source: str) -> None:
    if isinstance(value, Raw):
        wants_text = str in (kind, *get_args(kind)) and not any(item in get_args(kind) for item in (int, float))
        value = value.text if wants_text and value.value is not None and value.value != "" else value.value
        value = value[1:-1] if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] in "'\"" else value
    try:
        if isinstance(value, list) and any(isinstance(item, (list, Mapping)) or item is None for item in value):
            raise TypeError("OmegaConf does not look into nested lists")
        OmegaConf.update(node, name, value)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(f"{source}: {key}: expected {describe(kind)}, got {_shown(value)}") from error


def describe(kind: Any) -> str:
    """A type in the user's words: ``a number``, ``a list of whole numbers``, ``one of sgd, adam``."""
    if get_origin(kind) is Union:
        return " or ".join(describe(item) for item in get_args(kind))
    if get_origin(kind) in (list, tuple):
        return "a list of " + describe(get_args(kind)[0]).removeprefix("a ").removesuffix("s") + "s"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(item.name for item in kind)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return words.get(kind, "another type")


def _hints(node: DictConfig) -> dict[str, Any]:
    kind = OmegaConf.get_type(node)
    return get_type_hints(kind) if is_dataclass(kind) else {}


def _section(kind: Any) -> type | None:
    """The dataclass of a (possibly optional) section, or None for a leaf."""
    for item in (kind, *get_args(kind)):
        if isinstance(item, type) and is_dataclass(item):
            return item
    return None


def _is_section(child: Any) -> bool:
    return isinstance(child, DictConfig) and not child._is_none() and is_dataclass(OmegaConf.get_type(child))


def _nearest_key(key: str, root: DictConfig) -> str:
    """A key of the same last name stands anywhere, or the whole is misspelt, or its last name is."""
    known = all_keys(root)
    last = key.rsplit(".", 1)[-1]
    by_last: dict[str, str] = {}
    for item in known:
        by_last.setdefault(item.rsplit(".", 1)[-1], item)
    if last in by_last:
        return f"; did you mean {by_last[last]}?"
    if hint := did_you_mean(key, known):
        return hint
    near = difflib.get_close_matches(last, by_last, n=1)
    return f"; did you mean {by_last[near[0]]}?" if near else ""


def _example(node: DictConfig, key: str) -> str:
    name = key.rsplit(".", 1)[-1]
    inside = [item for item in all_keys(node) if item.startswith(f"{name}.")]
    return key[: len(key) - len(name)] + inside[0] if inside else key


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Raw) else value


def _shown(value: Any) -> str:
    return "a mapping" if isinstance(value, Mapping) else repr(value)


def _refuse_specials(node: yaml.Node, source: str, seen: set[int]) -> None:
    where = _at(source, node.start_mark)
    if id(node) in seen:
        raise ConfigError(f"{where}: YAML aliases are not allowed")
    seen.add(id(node))
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
        raise ConfigError(f"{where}: YAML tags are not allowed ({node.tag})")
    if isinstance(node, yaml.ScalarNode) and "${" in node.value:
        raise ConfigError(f"{where}: interpolations are not allowed ({node.value})")
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_specials(item, source, seen)
    if isinstance(node, yaml.MappingNode):
        names = set()
        for name, item in node.value:
            _refuse_specials(name, source, seen)
            _refuse_specials(item, source, seen)
            if name.value in names:
                raise ConfigError(f"{_at(source, name.start_mark)}: key {name.value!r} stands here twice")
            names.add(name.value)


def _at(source: str, mark: yaml.Mark | None) -> str:
    return f"{source}:{mark.line + 1}" if mark is not None and source.endswith((".yaml", ".yml")) else source
