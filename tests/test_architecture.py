"""Who may import whom, read from the source; and what importing the packages must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lifelong", "streams", "reports")
HEAVY = {"torch", "faiss", "simpy", "transformers", "matplotlib"}
DOORS = {"faiss": "lifelong/bank/search/engine_faiss.py", "simpy": "lifelong/simulation/station.py"}

ORDER = ("log", "models", "bank", "editing", "editors", "probing", "simulation", "running", "studies", "cli")
"""The packages of `lifelong`: a file imports its own, those before it, and `streams` (`log` not even that)."""
INSIDE = {
    "lifelong.models": (
        ("cache", "products", "folders", "digests", "memory"),
        ("passes",),
        ("weights", "processors", "prompts", "kept", "atlas.model", "minigpt4"),
        ("loading", "checks"),
        ("vlm",),
        ("encoders", "tiny", "families", "atlas"),
        ("examination", "shaped"),
    ),
    "lifelong.bank": (("storage",), ("search",), ("bank",)),
    "reports": (
        ("alike", "written", "parts"),
        ("table", "statistics"),
        ("numbers",),
        ("analyses",),
        ("figures.looks",),
        ("figures", "page_tables"),
        ("rendering", "shown", "chosen", "paper"),
        ("page", "stress_page", "route_page", "ladder_page", "diff_page", "beside_papers"),
    ),
}
"""The order inside a package: a part imports itself and the parts before it."""
EDITORS_MAY = (
    "lifelong.bank",
    "lifelong.editing",
    "lifelong.models.vlm",
    "lifelong.models.encoders",
    "streams.types",
)

CONVERTERS = ("lifelong/models/minigpt4/convert.py", "lifelong/models/smol/parts.py")
STREAMS = (
    "streams/atlas/edits.py",
    "streams/jsonl.py",
    "streams/mixed.py",
    "streams/toy.py",
    *sorted(
        f"streams/published/{path.name}"
        for path in (ROOT / "streams/published").glob("*.py")
        if "def load(" in path.read_text()
    ),
)
COMMANDS = (
    "lifelong/cli/main.py",
    "lifelong/models/atlas/train/main.py",
    "lifelong/models/smol/train/main.py",
    "streams/atlas/build/__main__.py",
)
QUIRKS = tuple(f"lifelong/models/prompts/quirk_{name}.py" for name in ("atlas", "blip2", "instructblip", "paligemma"))
TWICE = {
    "MODEL_TYPES": (QUIRKS, "`find_quirk` finds a family's own ways by this name"),
    "Options": (STREAMS, "`load_stream` finds a stream's options by this name"),
    "load": (STREAMS, "`load_stream` finds a stream by this name"),
    "main": (COMMANDS, "what a command begins with is called so everywhere"),
}
"""Public names that several modules define, in which ones, and why: every other name is in one module only."""


def files() -> dict[str, Path]:
    return {str(p.relative_to(ROOT)): p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))}


def imports(path: Path, *, at_run_time_only: bool = False) -> set[str]:
    """All modules a file imports anywhere in it; without those for type checkers only, where asked."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    if at_run_time_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {n for part in node.body for n in ast.walk(part)}
    found = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(names: set[str]) -> set[str]:
    return {n.split(".")[0] for n in names}


@pytest.mark.parametrize("package", ["streams", "reports"])
def test_streams_and_reports_never_use_the_machinery(package: str) -> None:
    allowed = {"matplotlib"} if package == "reports" else set()
    for name, path in files().items():
        if name.startswith(package + "/"):
            assert not tops(imports(path)) & (HEAVY - allowed), name


def test_streams_know_neither_lifelong_nor_reports() -> None:
    for name, path in files().items():
        if name.startswith("streams/"):
            assert not tops(imports(path)) & {"lifelong", "reports"}, name


def test_reports_know_of_lifelong_only_the_log_and_of_streams_only_printable_texts() -> None:
    for name, path in files().items():
        if name.startswith("reports/"):
            used = {n for n in imports(path) if n.split(".")[0] == "lifelong"}
            assert all(n == "lifelong.log" or n.startswith("lifelong.log.") for n in used), (name, used)
            streams = {n for n in imports(path) if n.split(".")[0] == "streams"}
            assert streams <= {"streams.text", "streams.text.printable"}, (name, streams)


def test_one_outside_dependency_has_one_door() -> None:
    for name, path in files().items():
        used = tops(imports(path))
        for dependency, door in DOORS.items():
            assert dependency not in used or name == door, (name, dependency)
        assert "transformers" not in used or name.startswith("lifelong/models/"), name
        assert "matplotlib" not in used or name.startswith("reports/"), name


def is_from(node: ast.AST, modules: Mapping[str, Path]) -> TypeGuard[ast.ImportFrom]:
    """Whether something else than a module is imported from a module: `from package import module` is not."""
    if not isinstance(node, ast.ImportFrom) or node.module is None:
        return False
    return any(f"{node.module}.{alias.name}" not in modules for alias in node.names)


def module_of(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def edges() -> dict[str, set[str]]:
    """Which of our modules each of them imports: at run time, lazily, or for type checkers."""
    modules = {module_of(name): path for name, path in files().items()}
    out: dict[str, set[str]] = {}
    for module, path in modules.items():
        used = {name for name in imports(path) if name in modules}
        whole = {node.module for node in ast.walk(ast.parse(path.read_text())) if is_from(node, modules)}
        out[module] = {name for name in used if name in whole or not any(n.startswith(name + ".") for n in used)}
    return out


def test_a_package_imports_only_itself_and_those_before_it() -> None:
    place = {package: n for n, package in enumerate(ORDER)}
    for module, used in edges().items():
        parts = module.split(".")
        if parts[0] != "lifelong" or len(parts) < 2:
            continue
        for other in used:
            top, *below = other.split(".")
            if top == "lifelong" and below:
                assert place[below[0]] <= place[parts[1]], (module, other)
            assert parts[1] != "log" or other.startswith("lifelong.log"), (module, other)
            assert top != "reports" or parts[1] in ("studies", "cli"), (module, other)


@pytest.mark.parametrize("package", INSIDE)
def test_inside_a_package_there_is_an_order_too(package: str) -> None:
    place = {f"{package}.{part}": n for n, parts in enumerate(INSIDE[package]) for part in parts}

    def rank(module: str) -> int | None:
        return next((n for part, n in place.items() if module == part or module.startswith(part + ".")), None)

    for module, used in edges().items():
        for other in used:
            mine, theirs = rank(module), rank(other)
            assert mine is None or theirs is None or theirs <= mine, (module, other)


def test_editors_use_the_contracts_and_nothing_else() -> None:
    for module, used in edges().items():
        parts = module.split(".")
        for other in used:
            if other.startswith("lifelong.editors."):
                own = parts[:2] == ["lifelong", "editors"] and other.startswith(".".join(parts[:3]))
                assert own, f"{module} imports {other}: an editor is found by its name, by nothing else"
        if parts[:2] == ["lifelong", "editors"] and len(parts) > 2:
            own = ".".join(parts[:3])
            for other in used:
                may = any(other == m or other.startswith(m + ".") for m in (*EDITORS_MAY, own))
                assert may or any(m.startswith(other + ".") for m in EDITORS_MAY), (module, other)


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = edges()
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for other in sorted(graph[module]):
                if not is_face(other):
                    walk(other, (*trail, module))
            done.add(module)

    for module in graph:
        if not is_face(module):
            walk(module, ())


def is_face(module: str) -> bool:
    """Whether a package only hands on the names of its own files (`lifelong`, `lifelong.log`, `lifelong.bank`)."""
    return module in ("lifelong", "lifelong.log", "lifelong.bank")


def test_no_name_of_the_api_is_a_module() -> None:
    import lifelong

    below = {module.split(".")[1] for module in edges() if module.startswith("lifelong.")}
    assert not below & set(lifelong.__all__)


def public_names(path: Path) -> set[str]:
    """The functions, classes and assigned names at the top of a module that do not begin with an underscore."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def test_a_public_name_is_defined_in_one_module_only() -> None:
    homes: dict[str, list[str]] = {}
    for name, path in files().items():
        for public in public_names(path):
            homes.setdefault(public, []).append(name)
    twice = {public: found for public, found in homes.items() if len(found) > 1}
    for public, (allowed, reason) in TWICE.items():
        assert set(twice.pop(public)) == set(allowed), f"{public}: {reason}"
    assert not twice


def test_torch_is_imported_before_faiss() -> None:
    names = [
        n
        for n in ast.parse((ROOT / "lifelong/bank/search/engine_faiss.py").read_text()).body
        if isinstance(n, ast.Import)
    ]
    order = [alias.name for node in names for alias in node.names]
    assert order.index("torch") < order.index("faiss")


@pytest.mark.parametrize("module", ["lifelong", "reports", "reports.page", "streams.stream", "lifelong.log"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = sorted(HEAVY - ({"matplotlib"} if module == "reports.page" else set()))
    code = f"import sys, {module}; bad = set({heavy}) & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def narrows(node: ast.AST) -> bool:
    """Whether an assert only tells the type checker what something is."""
    if isinstance(node, ast.BoolOp):
        return all(narrows(value) for value in node.values)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "isinstance"
    return isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.IsNot)


def test_no_module_checks_input_with_assert_or_pickles_anything() -> None:
    for name, path in files().items():
        tree = ast.parse(path.read_text())
        asserts = [n.test for n in ast.walk(tree) if isinstance(n, ast.Assert)]
        assert all(narrows(test) for test in asserts), f"{name}: an assert is no error message"
        assert not tops(imports(path)) & {"pickle", "dill", "cloudpickle", "shelve"}, name


def test_only_converters_open_a_pickle_and_only_as_tensors() -> None:
    for name, path in files().items():
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        loads = [c for c in calls if ast.unparse(c.func) == "torch.load"]
        assert not loads or name in CONVERTERS, name
        assert all("weights_only=True" in ast.unparse(call) for call in loads), name


def test_no_bare_except_and_every_module_says_what_it_is() -> None:
    for name, path in files().items():
        tree = ast.parse(path.read_text())
        bare = [n for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.type is None]
        assert not bare and ast.get_docstring(tree), name


def test_every_public_name_of_the_api_exists() -> None:
    code = "import lifelong; [getattr(lifelong, n) for n in lifelong.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_type_checkers_see_the_names_that_the_api_loads() -> None:
    """The imports for type checkers and the table that is used at run time name the same things."""
    import lifelong

    tree = ast.parse((ROOT / "lifelong/__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in block.body:
        if isinstance(node, ast.Assign):
            names, private = (ast.unparse(side).strip("()").split(", ") for side in (node.targets[0], node.value))
            seen |= {name: seen.pop(other) for name, other in zip(names, private, strict=True)}
    assert seen == lifelong._HOME
