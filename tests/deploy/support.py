"""What the checks of the deployment share: the tools, the files as they are rendered, and the program under test.

Owns no opinion on what is right. Must never use a secret that somebody uses: all are made for the run. A tool that is not
there makes its checks say so and pass; with CI=true they fail.
"""

import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target/tools/deploy"
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]

# Long, for a machine that is busy with other tests.
PATIENCE = 60


def need(tool: str, *places: Path) -> str:
    """The path of a program, or the end of the test."""
    for folder in [*places, TOOLS / "bin", TOOLS / "venv/bin", ROOT / "target/tools/bin", Path("/usr/sbin")]:
        if (folder / tool).is_file():
            return str(folder / tool)
    found = shutil.which(tool)
    if found:
        return found
    raise absent(tool)


def absent(what: str) -> Exception:
    if os.environ.get("CI") == "true":
        return AssertionError(f"{what} is not there, and CI=true")
    return unittest.SkipTest(f"{what} is not there")


def run(*command, cwd=ROOT, env=None, timeout=PATIENCE) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], cwd=cwd, env=env, timeout=timeout, capture_output=True, text=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# ---- the program under test ---------------------------------------------------------------------------------------------


@functools.cache
def carillon() -> str:
    """The binary that the tests build; built if nobody has yet."""
    given = os.environ.get("CARILLON")
    if given:
        return given
    binary = ROOT / "target/debug/carillon"
    if not binary.exists():
        built = run("cargo", "build", "--features", "failpoints", "--bin", "carillon", timeout=1800)
        assert built.returncode == 0, built.stderr
    return str(binary)


@functools.cache
def known_settings() -> frozenset:
    """Every environment variable that `carillon serve --help` names."""
    return frozenset(re.findall(r"\[env: ([A-Z0-9_]+)", help_text()))


@functools.cache
def help_text() -> str:
    """`carillon serve --help`, as one line: it is wrapped anywhere between words."""
    return " ".join(run(carillon(), "serve", "--help").stdout.split())


def refused_as_wrong(arguments, env) -> str | None:
    """What the program says against this command line and environment; None if it takes them (and then finds no database)."""
    started = subprocess.Popen(
        [carillon(), *arguments], env=env, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        said = started.communicate(timeout=3)[1]
    except subprocess.TimeoutExpired:
        started.kill()
        started.communicate()
        return None
    # 2: a wrong flag or setting. 1: taken, and no database.
    return None if started.returncode == 1 and "database" in said else said


class Node:
    """A single node on SQLite, for questions about what the binary answers."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        env = {
            "CARILLON_LISTEN": f"127.0.0.1:{self.port}",
            "DATABASE_URL": f"sqlite:{self.folder.name}/carillon.db",
            "CARILLON_JWT_SECRET": os.urandom(32).hex(),
        }
        self.process = subprocess.Popen([carillon(), "serve"], env=env, stderr=subprocess.DEVNULL)
        wait_until("the node is ready", lambda: self.get("/readyz")[0] == 200)
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.folder.cleanup()

    def get(self, path: str) -> tuple[int, str]:
        return get(f"http://127.0.0.1:{self.port}{path}")

    def post(self, path: str) -> tuple[int, str]:
        return get(f"http://127.0.0.1:{self.port}{path}", b"{}")


def get(url: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and body; 0 where nobody answers. With a body it is a POST."""
    try:
        with urllib.request.urlopen(url, data=body, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_until(what: str, reached):
    until = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < until, f"{what}: not within {PATIENCE} s"
        time.sleep(0.05)


def stop(process: subprocess.Popen):
    process.send_signal(signal.SIGKILL)
    process.wait()


# ---- Kubernetes ---------------------------------------------------------------------------------------------------------


@functools.cache
def rendered(overlay: str) -> list:
    """The documents of `k8s/overlays/OVERLAY`; development with secrets made for the run."""
    kustomize = need("kustomize")
    with tempfile.TemporaryDirectory() as copy:
        for folder in ["k8s", "deploy"]:
            shutil.copytree(ROOT / folder, Path(copy) / folder, ignore=shutil.ignore_patterns("secrets", "secrets.new"))
        if overlay == "development":
            made = run(Path(copy) / "k8s/overlays/development/make-secrets")
            assert made.returncode == 0, made.stderr
        built = run(kustomize, "build", f"k8s/overlays/{overlay}", cwd=copy)
        assert built.returncode == 0, built.stderr
        return [document for document in yaml.safe_load_all(built.stdout) if document]


def production() -> list:
    """What production applies in two steps, together."""
    return rendered("production/migration") + rendered("production")


SETS = {"production": production, "development": lambda: rendered("development")}


def of_kind(documents, *kinds) -> list:
    return [document for document in documents if document["kind"] in kinds]


def one(documents, kind, name) -> dict:
    found = [document for document in of_kind(documents, kind) if document["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)} of them"
    return found[0]


def workloads(documents) -> list:
    return of_kind(documents, "Deployment", "StatefulSet", "DaemonSet", "Job")


def pod_of(workload) -> dict:
    return workload["spec"]["template"]


def containers(pod) -> list:
    return pod["spec"].get("initContainers", []) + pod["spec"]["containers"]


def is_ours(container) -> bool:
    return container["image"].split("@")[0].rsplit(":", 1)[0].split("/")[-1] == "carillon"


def values_of(container, documents) -> dict:
    """The container's environment; what comes from a Secret, and what only the pod knows, as something of the right shape."""
    values = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            values |= one(documents, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", []):
        if "value" in variable:
            values[variable["name"]] = variable["value"]
        elif "secretKeyRef" in variable["valueFrom"]:
            if not variable["valueFrom"]["secretKeyRef"].get("optional"):
                values[variable["name"]] = stand_in(variable["name"])
        else:
            values[variable["name"]] = "carillon-6d4cf56db6-abcde"
    return values


def stand_in(name: str) -> str:
    """A value for a setting that is secret, which leads nowhere."""
    if name == "DATABASE_URL":
        return "postgres://nobody@127.0.0.1:1/nothing"
    return "redis://127.0.0.1:1" if name == "REDIS_URL" else os.urandom(32).hex()


# ---- compose ------------------------------------------------------------------------------------------------------------


@functools.cache
def compose_environment() -> dict:
    """An .env as deploy/make-env makes it, for the run."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT / "deploy", Path(copy) / "deploy")
        shutil.copy(ROOT / ".env.example", copy)
        made = run(Path(copy) / "deploy/make-env")
        assert made.returncode == 0, made.stderr
        lines = (Path(copy) / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolated(text: str, environment: dict) -> str:
    """compose.yaml with its variables filled in, as the compose specification says."""

    def value(match):
        name, default, required = match["name"], match["default"], match["required"]
        found = environment.get(name, "")
        assert found or required is None, f"{name} is required"
        return found or default or ""

    pattern = r"(?<!\$)\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?(?P<required>[^}]*))?\}"
    return re.sub(pattern, value, text)


@functools.cache
def compose() -> dict:
    """compose.yaml, filled in, and read by the reference implementation of the specification."""
    tool = need("compose-spec")
    with tempfile.TemporaryDirectory() as folder:
        text = interpolated((ROOT / "compose.yaml").read_text(), compose_environment())
        (Path(folder) / "compose.yaml").write_text(text)
        read = run(tool, "-format", "json", "-no-path-resolution", "compose.yaml", cwd=folder)
        assert read.returncode == 0, read.stderr
        return json.loads(read.stdout)


def seconds(duration: str) -> float:
    """A duration as compose writes it."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", duration))
