"""The Dockerfile: what a linter says, and whether it fits the sources and the program."""

import re
import shutil
import tempfile
import unittest
from pathlib import Path

from support import CARGO, ROOT, carillon, need, run

TEXT = (ROOT / "Dockerfile").read_text()
# Instructions, with their continuation lines.
LINES = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", TEXT)).splitlines()
FINAL = LINES[max(n for n, line in enumerate(LINES) if line.startswith("FROM ")) :]


def copied() -> list:
    """What is copied from outside."""
    found = [line.split()[1:-1] for line in LINES if line.startswith("COPY ") and "--from" not in line]
    return [word for words in found for word in words if not word.startswith("--")]


class Dockerfile(unittest.TestCase):
    def test_the_linter_finds_nothing(self):
        linted = run(need("hadolint"), "--failure-threshold", "style", "Dockerfile")
        self.assertEqual((linted.returncode, linted.stdout), (0, ""))

    def test_it_ends_without_root_in_an_image_without_a_shell(self):
        [user] = [line for line in FINAL if line.startswith("USER ")]
        self.assertRegex(user, r"^USER [1-9]\d*:[1-9]\d*$")
        [base] = [line for line in LINES if line.startswith("ARG RUNTIME=")]
        self.assertRegex(base, r"distroless/cc-debian\d+(:nonroot|@sha256:)")
        for form in ["ENTRYPOINT", "CMD"]:
            [line] = [line for line in FINAL if line.startswith(form + " ")]
            self.assertRegex(line, r"^\w+ \[")
        self.assertFalse([line for line in FINAL if line.startswith("RUN")], "there is nothing to run it with")

    def test_the_builder_is_new_enough_and_of_the_same_debian_as_what_it_ends_in(self):
        version, release = re.search(r"(?m)^FROM rust:([\d.]+)-(\w+) AS build", TEXT).groups()
        numbers = lambda text: [int(n) for n in text.split(".")]
        self.assertGreaterEqual(numbers(version)[:2], numbers(CARGO["rust-version"])[:2])
        releases = {"bookworm": "12", "trixie": "13"}
        self.assertIn(f"cc-debian{releases[release]}", TEXT)

    def test_its_health_is_asked_of_the_program_itself(self):
        [check] = [line for line in FINAL if line.startswith("HEALTHCHECK")]
        program, command = re.search(r'CMD \["(\S+)", "(\S+)"\]', check).groups()
        self.assertIn(f'ENTRYPOINT ["{program}"]', FINAL)
        self.assertEqual(run(carillon(), command, "--help").returncode, 0)

    def test_what_is_copied_is_let_through_and_secrets_and_history_are_not(self):
        patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
        self.assertEqual(patterns[0], "*")
        self.assertEqual(sorted(pattern.removeprefix("!") for pattern in patterns[1:]), sorted(copied()))
        self.assertTrue(all((ROOT / name).exists() for name in copied()))

    def test_what_is_copied_is_what_cargo_and_the_sources_want(self):
        text = "".join(file.read_text() for file in (ROOT / "src").rglob("*.rs"))
        wanted = set(re.findall(r'embed_migrations!\("(\w+)/|folder = "(\w+)', text))
        self.assertTrue(wanted)
        self.assertLessEqual({name for pair in wanted for name in pair if name}, set(copied()))
        with tempfile.TemporaryDirectory() as folder:
            for name in copied():
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, Path(folder) / name, ignore=shutil.ignore_patterns("node_modules"))
                else:
                    shutil.copy(source, folder)
            [made] = re.findall(r"(?m)^RUN mkdir -p (\S+) && touch (\S+)$", TEXT)
            (Path(folder) / made[0]).mkdir(parents=True)
            (Path(folder) / made[1]).touch()
            manifest = run("cargo", "metadata", "--no-deps", "--locked", "--offline", "--format-version=1", cwd=folder)
            self.assertEqual(manifest.returncode, 0, manifest.stderr)

    def test_the_commit_is_told_by_the_variable_that_the_program_reads(self):
        self.assertIn('CARILLON_BUILD_COMMIT="$COMMIT" cargo build --release --locked', TEXT)
        self.assertIn('option_env!("CARILLON_BUILD_COMMIT")', (ROOT / "src/build_info.rs").read_text())


if __name__ == "__main__":
    unittest.main()
