"""Writes a dict as TOML: {"pool": {"xmpp": {"node": [{…}]}}} → [pool.xmpp], [[pool.xmpp.node]]."""

import json


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"no TOML for {value!r}")


def _is_table_array(value):
    return isinstance(value, list) and value and all(isinstance(item, dict) for item in value)


def dumps(table, path=""):
    lines, tables = [], []
    for key, value in table.items():
        full = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            only_tables = value and all(isinstance(v, dict) or _is_table_array(v) for v in value.values())
            header = "" if only_tables else f"\n[{full}]\n"
            tables.append(header + dumps(value, full))
        elif _is_table_array(value):
            tables += [f"\n[[{full}]]\n{dumps(item, full)}" for item in value]
        else:
            lines.append(f"{key} = {_value(value)}\n")
    return "".join(lines) + "".join(tables)
