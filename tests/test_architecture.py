"""Who may import whom, read from the source; and what importing the packages must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lifelong", "streams", "reports")
HEAVY = {"torch", "faiss", "simpy", "transformers", "matplotlib"}
DOORS = {"faiss": "lifelong/faiss_door.py", "simpy": "lifelong/station.py"}
EDITORS_MAY = (
    "lifelong.editing.contract",
    "lifelong.bank",
    "lifelong.low_rank",
    "lifelong.editing.ops",
    "lifelong.editing.facts.book",
    "lifelong.bank.search.spec",
    "lifelong.editing.facts.fact_editor",
    "lifelong.editing.scope.classifier",
    "lifelong.editing.scope.memory",
    "lifelong.editing.scope.counterfactual",
    "lifelong.editing.scope.counterfactual_mend",
    "lifelong.editing.weights.regions",
    "lifelong.editing.weights.weight_editor",
    "lifelong.editing.weights.hypernet",
    "lifelong.editing.weights.gradient_transform",
    "lifelong.editing.radius_bank",
    "lifelong.editing.training",
    "lifelong.editing.pools",
    "lifelong.studies.spaces",
    "lifelong.models.vlm",
    "lifelong.models.passes.layout",
    "lifelong.editing.patches",
    "lifelong.models.encoders",
    "streams.types",
)


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


def test_reports_know_of_lifelong_only_the_log() -> None:
    for name, path in files().items():
        if name.startswith("reports/"):
            used = {n for n in imports(path) if n.split(".")[0] == "lifelong"}
            assert all(n == "lifelong.log" or n.startswith("lifelong.log.") for n in used), (name, used)
            assert "streams" not in tops(imports(path)), name


def test_one_outside_dependency_has_one_door() -> None:
    for name, path in files().items():
        used = tops(imports(path))
        for dependency, door in DOORS.items():
            assert dependency not in used or name == door, (name, dependency)
        assert "transformers" not in used or name.startswith("lifelong/models/"), name
        assert "matplotlib" not in used or name.startswith("reports/"), name


def test_only_the_command_line_and_the_stress_tool_write_reports() -> None:
    may = {
        *(f"lifelong/{name}.py" for name in ("cli", "cli_bench", "cli_report", "cli_replay", "cli_stress")),
        *(f"lifelong/{name}.py" for name in ("stress", "stress_bank", "stress_edits")),
    }
    for name, path in files().items():
        if name.startswith("lifelong/") and name not in may:
            assert "reports" not in tops(imports(path)), name


def test_editors_use_the_contracts_and_nothing_else() -> None:
    for name, path in files().items():
        parts = Path(name).with_suffix("").parts
        if parts[:2] != ("lifelong", "editors") or len(parts) < 3:
            continue
        own = ".".join(parts[:3])
        for used in imports(path):
            if used.split(".")[0] in PACKAGES:
                inside = any(used == m or used.startswith(m + ".") for m in (*EDITORS_MAY, own))
                assert inside or any(m.startswith(used + ".") for m in EDITORS_MAY), (name, used)
            assert used.split(".")[0] not in {"transformers", "simpy", "faiss"}, (name, used)


def test_torch_is_imported_before_faiss() -> None:
    names = [n for n in ast.parse((ROOT / "lifelong/faiss_door.py").read_text()).body if isinstance(n, ast.Import)]
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


def test_no_bare_except_and_every_module_says_what_it_is() -> None:
    for name, path in files().items():
        tree = ast.parse(path.read_text())
        bare = [n for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.type is None]
        assert not bare and ast.get_docstring(tree), name


def test_every_public_name_of_the_api_exists() -> None:
    code = "import lifelong; [getattr(lifelong, n) for n in lifelong.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
