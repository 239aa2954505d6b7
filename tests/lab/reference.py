"""The configuration reference beside what the cases really write: which documented keys, and which of their words, no
case gives to a daemon."""

import ast
import glob
import os
import re
import tomllib

from .causeway import REPOSITORY

# Functions that build a section, and where it stands.
BUILDERS = {"tunnel": ("tunnel", "*"), "azure": ("tunnel", "*"), "neighbor": ("bgp", "neighbor", "*")}


def documented():
    """(section, key) -> the words it may have, from the page's tables; a section as a path, `*` for a name."""
    with open(os.path.join(REPOSITORY, "docs/configuration.md")) as file:
        page = file.read()
    found = {}
    for part in re.split(r"^## ", page, flags=re.M)[1:]:
        heading = re.match(r"`\[(.*?)\]`", part)
        if not heading:
            continue
        section = tuple("*" if word == "NAME" else word for word in heading[1].split("."))
        for key, allowed in re.findall(r"^\| `(\w+)` \| [^|]*\| ([^|]*) \|", part, re.M):
            words = re.findall(r"`\"?([a-z][\w-]*)\"?`", allowed) + re.findall(r"(?<!`)\"([a-z][a-z-]*)\"(?!`)", allowed)
            found[section, key] = set(words)
    # Other keys that a cell names, and words that are parts of a value.
    keys = {key for _, key in found} | {"rt_tables", "noesn"}
    return {place: words - keys for place, words in found.items()}


def written():
    """Every (path, value) that the cases, their stands and the examples write; `*` for what a name or variable stands for."""
    found = set()
    for path in glob.glob(os.path.join(REPOSITORY, "examples/*.toml")):
        with open(path, "rb") as file:
            _values(tomllib.load(file), (), found)
    for folder in ("interop", "lab"):
        for path in glob.glob(os.path.join(REPOSITORY, "tests", folder, "*.py")):
            with open(path) as file:
                _Reader(found).visit(ast.parse(file.read()))
    return found


def _values(value, path, found):
    if isinstance(value, dict):
        for key, inner in value.items():
            _values(inner, (*path, key), found)
    elif isinstance(value, list):
        for inner in value:
            _values(inner, path, found)
    else:
        found.add((path, value))


class _Reader(ast.NodeVisitor):
    """Dictionaries and keyword arguments of a Python file as paths."""

    def __init__(self, found):
        self.found, self.path = found, ()

    def visit_Dict(self, node):
        for key, value in zip(node.keys, node.values):
            if key is None:
                self.visit(value)
            else:
                self._under(key.value if isinstance(key, ast.Constant) else "*", value)

    def visit_Call(self, node):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        for argument in node.args:
            self.visit(argument)
        self.visit(node.func)
        before = self.path
        if name == "Inline" and "seq" in {keyword.arg for keyword in node.keywords}:
            self.path = ("prefix_list", "*")
        else:
            self.path = BUILDERS.get(name, self.path)
        for keyword in node.keywords:
            if keyword.arg:
                self._under(keyword.arg, keyword.value)
        self.path = before

    def visit_Assign(self, node):
        """`TIMES = {…}`, `tree["tunnel"]["azure"]["start"] = …`"""
        for target in node.targets:
            keys = []
            while isinstance(target, ast.Subscript):
                keys.insert(0, target.slice.value if isinstance(target.slice, ast.Constant) else "*")
                target = target.value
            before, self.path = self.path, (*self.path, *keys)
            self.visit(node.value)
            self.path = before

    def visit_Constant(self, node):
        if self.path:
            self.found.add((self.path, node.value))

    def visit_Name(self, _node):
        if self.path:
            self.found.add((self.path, "*"))

    def visit_Attribute(self, node):
        # What is called on something may stand behind a whole file: `Stand(changes=…).start()`.
        if isinstance(node.value, ast.Call):
            before, self.path = self.path, ()
            self.visit(node.value)
            self.path = before
        elif self.path:
            self.found.add((self.path, "*"))

    visit_JoinedStr = visit_Name

    def _under(self, key, value):
        before, self.path = self.path, (*self.path, key)
        if not isinstance(value, (ast.Dict, ast.List, ast.Call, ast.Constant)):
            self.found.add((self.path, "*"))
        self.visit(value)
        self.path = before


def unused():
    """`section.key` and `section.key = word` that nobody writes."""
    pairs, missing = written(), []
    every = [key for _, key in documented()]
    for (section, key), words in documented().items():
        wanted = (*section, key)
        # A key that one section alone has is known by its name.
        alone = every.count(key) == 1
        values = {value for path, value in pairs if _ends_with(path, wanted) or alone and path == (key,)}
        name = ".".join(wanted)
        if not values and not any(_ends_with(path[:-1], wanted) for path, _ in pairs):
            missing.append(name)
        missing += [f"{name} = {word}" for word in sorted(words) if word not in values and word not in ("true", "false")]
        booleans = {word == "true" for word in words if word in ("true", "false")}
        missing += [f"{name} = {str(word).lower()}" for word in sorted(booleans) if not any(value is word for value in values)]
    return missing


def _ends_with(path, wanted):
    """A path of a part of a file is enough when it names the section: `esp.df` for `tunnel.NAME.esp.df`."""
    least = 2 if wanted[-2] != "*" else 3
    for length in range(least, len(wanted) + 1):
        part = wanted[-length:]
        if len(path) >= length and all(want in ("*", have) for want, have in zip(part, path[-length:])):
            if part[0] != "*":
                return True
    return False
