"""What the documents may point at: paths, names in the code, tests with their docstrings; read without importing."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CORE = ROOT / "layers" / "core" / "python" / "cleanroom"


@lru_cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@lru_cache
def names_in(path):
    """Functions, classes, methods and constants of a file."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@lru_cache
def docstrings_in(path):
    """Test function -> everything that its docstring and its file's docstring say."""
    whole = ast.get_docstring(tree(path)) or ""
    return {
        node.name: f"{ast.get_docstring(node) or ''}\n{whole}"
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def missing_test(node_id):
    """Why a node id names no test, or None."""
    path, _, name = node_id.partition("::")
    if not (ROOT / path).is_file():
        return f"{path} is not there"
    return None if name in docstrings_in(ROOT / path) else f"{path} has no {name}"


def missing_code(reference):
    """Why `file::name` (below the package, or from the root) names nothing, or None."""
    path, _, name = reference.partition("::")
    file = CORE / path if (CORE / path).is_file() else ROOT / path
    if not file.is_file():
        return f"{path} is not there"
    return None if not name or name in names_in(file) else f"{path} has no {name}"


def document(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(text):
    """Cells of every Markdown table, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = {i for i, row in enumerate(cells) if all(re.fullmatch(r":?-+:?", cell) for cell in row)}
    return [row for i, row in enumerate(cells) if i not in rules and i + 1 not in rules]


def quoted(text):
    """Everything between backticks."""
    return re.findall(r"`([^`]+)`", text)


def all_tests():
    """Every test of the project: node id -> docstring."""
    return {
        f"{path.relative_to(ROOT).as_posix()}::{name}": says
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name, says in docstrings_in(path).items()
    }
