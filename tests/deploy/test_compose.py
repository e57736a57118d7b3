"""compose.yaml and what it mounts: readable by the reference implementation, closed by default, of one mind with the program,
and its servers' configurations taken by the real servers."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import (
    ROOT,
    Node,
    compose,
    compose_environment,
    free_port,
    get,
    known_settings,
    need,
    refused_as_wrong,
    run,
    seconds,
    stop,
    wait_until,
)

NODES = ["carillon-1", "carillon-2"]


class Environment(unittest.TestCase):
    def test_without_secrets_of_one_s_own_nothing_starts_and_each_that_is_missing_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(ROOT / "compose.yaml", folder)
            refused = run(need("compose-spec"), "compose.yaml", cwd=folder, env={"PATH": os.environ["PATH"]})
        self.assertNotEqual(refused.returncode, 0)
        for name in [name for name, value in compose_environment().items() if len(value) == 64]:
            self.assertIn(f"{name} is missing", refused.stderr)

    def test_every_secret_is_made_and_differs_and_the_example_holds_none(self):
        made = compose_environment()
        example = dict(
            line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"\w+=", line)
        )
        secrets = [name for name in example if re.search(r"SECRET|PASSWORD|KEY", name)]
        self.assertEqual(len(secrets), 8)
        self.assertEqual({example[name] for name in secrets}, {""})
        self.assertEqual(len({made[name] for name in secrets}), len(secrets))
        self.assertTrue(all(re.fullmatch(r"[0-9a-f]{64}", made[name]) for name in secrets))

    def test_an_environment_that_is_there_is_left_alone_and_only_its_owner_reads_it(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(ROOT / "deploy", Path(folder) / "deploy")
            shutil.copy(ROOT / ".env.example", folder)
            self.assertEqual(run(Path(folder) / "deploy/make-env").returncode, 0)
            file = Path(folder) / ".env"
            before, mode = file.read_text(), file.stat().st_mode & 0o777
            self.assertEqual((run(Path(folder) / "deploy/make-env").returncode, file.read_text()), (1, before))
            self.assertEqual(mode, 0o600)


class Services(unittest.TestCase):
    def setUp(self):
        self.services = compose()["services"]

    def test_the_whole_system_is_there(self):
        wanted = {*NODES, "migrate", "nginx", "postgres", "redis", "livekit", "coturn"}
        self.assertEqual(self.services.keys(), wanted)

    def test_every_container_has_nothing_to_gain_on_a_root_that_is_read_only(self):
        for name, service in self.services.items():
            with self.subTest(service=name):
                self.assertIs(service["read_only"], True)
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertIn("no-new-privileges:true", service["security_opt"])
                self.assertNotIn("privileged", service)
                self.assertNotIn("network_mode", service)
                self.assertLessEqual(set(service.get("cap_add", [])), {"NET_BIND_SERVICE"})
                # Ours, and nginx's image without root, say so themselves.
                itself = name in [*NODES, "migrate", "nginx"]
                self.assertTrue(itself or re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]))

    def test_images_are_pinned(self):
        for name, service in self.services.items():
            image = service["image"]
            if "build" in service:
                self.assertEqual(image, "carillon:local")
            else:
                self.assertRegex(image, r"^[\w./-]+:v?\d+\.\d+", name)

    def test_only_this_machine_reaches_it_unless_somebody_says_otherwise(self):
        published = [port for service in self.services.values() for port in service.get("ports", [])]
        self.assertTrue(published)
        self.assertEqual({port["host_ip"] for port in published}, {"127.0.0.1"})
        for inner in ["postgres", "redis"]:
            self.assertNotIn("ports", self.services[inner])
            self.assertEqual(list(self.services[inner]["networks"]), ["back"])
        self.assertIs(compose()["networks"]["back"]["internal"], True)

    def test_every_setting_is_one_that_help_knows_and_every_value_is_taken(self):
        for name in [*NODES, "migrate"]:
            with self.subTest(service=name):
                values = {key: value for key, value in self.services[name]["environment"].items() if value is not None}
                self.assertLessEqual(values.keys(), known_settings())
                values["DATABASE_URL"] = "postgres://nobody@127.0.0.1:1/nothing"
                self.assertIsNone(refused_as_wrong(self.services[name].get("command") or ["serve"], values))

    def test_nodes_start_after_the_migration_and_leave_in_their_own_time(self):
        for name in NODES:
            service = self.services[name]
            self.assertEqual(service["depends_on"]["migrate"]["condition"], "service_completed_successfully")
            self.assertEqual(service["environment"]["CARILLON_MIGRATE"], "off")
            drain = float(service["environment"]["CARILLON_DRAIN_SECS"])
            self.assertGreater(seconds(service["stop_grace_period"]), drain + 10)
            self.assertNotEqual(service["environment"]["DATABASE_URL"], self.services["migrate"]["environment"]["DATABASE_URL"])
        self.assertEqual(self.services["migrate"]["command"], ["migrate"])

    def test_the_balancer_knows_both_nodes_by_address_and_is_the_only_one_that_they_believe(self):
        addresses = {name: self.services[name]["networks"]["edge"]["ipv4_address"] for name in [*NODES, "nginx"]}
        hosts = dict(re.split("[=:]", host, maxsplit=1) for host in self.services["nginx"]["extra_hosts"])
        self.assertEqual(hosts, {name: addresses[name] for name in NODES})
        configuration = (ROOT / "deploy/nginx/nginx.conf").read_text()
        self.assertEqual(re.findall(r"^\s*server ([\w.:-]+)", configuration, re.M), [f"{name}:8080" for name in NODES])
        listens = re.search(r"listen (\d+);", configuration)[1]
        self.assertEqual([str(port["target"]) for port in self.services["nginx"]["ports"]], [listens])
        for name in NODES:
            self.assertEqual(self.services[name]["environment"]["CARILLON_TRUSTED_PROXIES"], addresses["nginx"])
        for sticky in ["ip_hash", "sticky", "hash ", "least_conn"]:
            self.assertNotIn(sticky, configuration)
        self.assertGreater(int(re.search(r"location = /ws.*?proxy_read_timeout (\d+)s", configuration, re.S)[1]), 2 * 20)

    def test_what_is_mounted_is_there(self):
        for service in self.services.values():
            for volume in service.get("volumes", []):
                if volume["type"] == "bind":
                    self.assertTrue((ROOT / volume["source"]).is_file(), volume["source"])
                    self.assertIs(volume["read_only"], True)

    def test_the_nodes_and_the_media_servers_have_the_same_keys(self):
        for name in NODES:
            settings = self.services[name]["environment"]
            keys = f"{settings['LIVEKIT_API_KEY']}: {settings['LIVEKIT_API_SECRET']}"
            self.assertEqual(self.services["livekit"]["environment"]["LIVEKIT_KEYS"], keys)
            self.assertEqual(self.services["coturn"]["environment"]["TURN_SECRET"], settings["TURN_SECRET"])


class Servers(unittest.TestCase):
    """The shipped configurations, taken by the servers that they are for; with other ports."""

    def test_livekit_takes_its_configuration_and_tells_the_balancer_what_nodes_answer(self):
        given = os.environ.get("LIVEKIT_SERVER")
        server = given if given else need("livekit-server")
        text = (ROOT / "deploy/livekit/livekit.yaml").read_text()
        port = free_port()
        for old in ["port: 7880", "tcp_port: 7881", "udp_port: 7882"]:
            self.assertEqual(len(re.findall(rf"(?m)^\s*{old}$", text)), 1, old)
        text = re.sub(r"(?m)^port: 7880$", f"port: {port}\nbind_addresses: [127.0.0.1]", text)
        text = text.replace("7881", str(free_port())).replace("7882", str(free_port()))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "livekit.yaml"
            file.write_text(text)
            log = (Path(folder) / "log").open("w+")
            env = {"LIVEKIT_KEYS": f"carillon: {os.urandom(32).hex()}", "HOME": folder}
            started = subprocess.Popen([server, "--config", file, "--node-ip", "127.0.0.1"], env=env, stdout=log, stderr=log)
            try:
                wait_until("LiveKit answers", lambda: get(f"http://127.0.0.1:{port}")[0] == 200 or started.poll() is not None)
                log.seek(0)
                self.assertIsNone(started.poll(), log.read())
            finally:
                stop(started)
        [url] = re.findall(r"urls: \[\"([^\"]+)\"\]", text)
        self.assertEqual(url.rsplit("/api/", 1)[0], "http://nginx:8080")
        with Node() as node:
            # There, and without a signature refused.
            self.assertNotIn(node.post("/api/" + url.rsplit("/api/", 1)[1])[0], [0, 200, 404, 405])

    def test_coturn_takes_its_configuration_with_the_secret_that_was_made_and_no_other(self):
        need("turnserver", Path("/usr/bin"))
        with tempfile.TemporaryDirectory() as folder:
            made, port, secret = Path(folder) / "turnserver.conf", free_port(), os.urandom(32).hex()
            env = {
                "PATH": os.environ["PATH"],
                "TURN_SECRET": secret,
                "PUBLIC_IP": "127.0.0.1",
                "TURN_PORT": str(port),
                "TURN_SHIPPED": str(ROOT / "deploy/coturn/turnserver.conf"),
                "TURN_CONFIGURATION": str(made),
            }
            log = (Path(folder) / "log").open("w+")
            started = subprocess.Popen(["sh", ROOT / "deploy/compose/coturn.sh"], env=env, stdout=log, stderr=log)
            try:
                wait_until("coturn listens", lambda: listens(port) or started.poll() is not None)
                log.seek(0)
                said = log.read()
                self.assertIsNone(started.poll(), said)
            finally:
                stop(started)
            text = made.read_text()
            self.assertEqual(re.findall(r"(?m)^static-auth-secret=(.*)$", text), [secret])
            self.assertEqual(made.stat().st_mode & 0o777, 0o600)
            self.assertNotRegex(said, r"(?i)bad configuration|unknown|unrecognized")
            ports = [int(re.search(rf"(?m)^{name}=(\d+)$", text)[1]) for name in ["min-port", "max-port"]]
        published = {int(port["target"]) for port in compose()["services"]["coturn"]["ports"]}
        self.assertEqual(published, {3478, *range(ports[0], ports[1] + 1)})

    def test_nginx_finds_nothing_to_say_against_its_configuration(self):
        nginx = need("nginx")
        with tempfile.TemporaryDirectory() as folder:
            text = (ROOT / "deploy/nginx/nginx.conf").read_text()
            text = re.sub(r"server carillon-\d:", "server 127.0.0.1:", text).replace(" /tmp/", f" {folder}/")
            file = Path(folder) / "nginx.conf"
            file.write_text(text)
            tested = run(nginx, "-t", "-c", file, "-p", folder)
            self.assertEqual(tested.returncode, 0, tested.stderr)
            complaints = [line for line in tested.stderr.splitlines() if "[" in line and "open file resource limit" not in line]
            self.assertEqual(complaints, [])


def listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    unittest.main()
