"""The Dockerfile: what a linter says, and whether it fits the sources and the program."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import CARGO, ROOT, carillon, free_port, get, need, run, stop, wait_until

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
        self.assertEqual(FINAL[0].split()[:2], ["FROM", "${RUNTIME}"])
        # What FROM names is looked for among those before the first one.
        first = next(n for n, line in enumerate(LINES) if line.startswith("FROM "))
        [base] = [line for line in LINES[:first] if line.startswith("ARG RUNTIME=")]
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

    @unittest.skipUnless(os.geteuid() == 0, "only root becomes somebody else")
    def test_the_program_runs_as_the_numbered_user_and_writes_below_its_folder_alone(self):
        user = int(re.search(r"(?m)^USER (\d+):", TEXT)[1])
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            # Where the tests are built may be closed to others.
            program, data = shutil.copy(carillon(), folder), Path(folder) / "data"
            data.mkdir()
            os.chown(data, user, user)
            port = free_port()
            # As the image sets it: in the folder, with the database of who says nothing else.
            env = {
                "CARILLON_LISTEN": f"127.0.0.1:{port}",
                "CARILLON_JWT_SECRET": os.urandom(32).hex(),
                "TMPDIR": "/nonexistent",
            }
            started = subprocess.Popen(
                [program, "serve"], env=env, cwd=data, user=user, group=user, extra_groups=[], stderr=subprocess.DEVNULL
            )
            try:
                wait_until("it is ready", lambda: get(f"http://127.0.0.1:{port}/readyz")[0] == 200)
                open_files = [os.readlink(link) for link in Path(f"/proc/{started.pid}/fd").iterdir() if link.is_file()]
            finally:
                stop(started)
            self.assertTrue(open_files)
            self.assertEqual([name for name in open_files if not name.startswith(f"{data}/")], [])
            self.assertEqual({path.name for path in Path(folder).iterdir()}, {"data", Path(program).name})

    def test_the_commit_is_told_by_the_variable_that_the_program_reads(self):
        self.assertIn('CARILLON_BUILD_COMMIT="$COMMIT" cargo build --release --locked', TEXT)
        self.assertIn('option_env!("CARILLON_BUILD_COMMIT")', (ROOT / "src/build_info.rs").read_text())


if __name__ == "__main__":
    unittest.main()
