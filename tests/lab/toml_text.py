"""Nested dictionaries as TOML, in the layout of the shipped example."""


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"


def _key(key):
    return key if key.replace("-", "").replace("_", "").isalnum() else _value(key)


class Inline(dict):
    """A table written inside one line."""


def dumps(tree, path=()):
    """The text of a table and the tables below it; values of None are left out."""
    lines = [f"{_key(k)} = {_value(v)}" for k, v in tree.items()
             if v is not None and (not isinstance(v, dict) or isinstance(v, Inline))]
    text = ""
    if path and lines:
        text += f"[{'.'.join(_key(p) for p in path)}]\n"
    text += "\n".join(lines) + ("\n\n" if lines else "")
    for key, value in tree.items():
        if isinstance(value, dict) and not isinstance(value, Inline):
            text += dumps(value, (*path, key))
    return text


def merge(base, changes):
    """`base` with `changes` put over it, table by table; a value of None takes a key away."""
    merged = type(base)(base)
    for key, value in changes.items():
        if isinstance(value, dict) and not isinstance(value, Inline) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged
