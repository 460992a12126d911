"""Settings that have no effect, found before training. Imports no torch."""

from __future__ import annotations

from experiments.config import RunConfig, compose, flatten
from lightning_modules.shared.config import as_plain


def find_no_ops(config: RunConfig) -> list[str]:
    """One line for each reason why settings that were changed have no effect.

    A setting counts as changed where it differs both from the schema's default and from the paper's recipe. Which
    setting makes which key unread stands beside each ``Config``, in its method ``unread``.
    """
    reasons: dict[str, list[str]] = {}
    for section in ("model", "optimizer"):
        part = getattr(config, section)
        unread = part.unread() if hasattr(part, "unread") else {}
        values, default = flatten(as_plain(part)), flatten(as_plain(type(part)()))
        changed = {key: why for key, why in unread.items() if values[key] != default[key]}
        if changed:
            recipe = flatten(as_plain(getattr(compose(config.paper), section)))
            for key in (key for key in changed if values[key] != recipe[key]):
                reasons.setdefault(changed[key], []).append(f"{section}.{key}={values[key]}")
    return [
        f"warning: {', '.join(keys)}: no effect where {why}; leave {'it' if len(keys) == 1 else 'them'} out"
        for why, keys in reasons.items()
    ]
