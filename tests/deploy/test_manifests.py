"""The Kubernetes manifests as they are rendered: valid, safe, and of one mind with the program that they run."""

import copy
import re
import unittest

import jsonschema
import kubernetes_validate
import yaml

from network import Peer, allowed, matches
from support import (
    CARGO,
    ROOT,
    SETS,
    TOOLS,
    Node,
    absent,
    containers,
    help_text,
    is_ours,
    known_settings,
    need,
    of_kind,
    one,
    pod_of,
    production,
    refused_as_wrong,
    rendered,
    run,
    values_of,
    workloads,
)

# Names of Secrets that an operator makes; those of an overlay's own end in a hash.
WHOLE = {"carillon", "carillon-migration"}
# The oldest with the kubelet's own sleep in preStop, and the newest whose schemas are at hand.
VERSIONS = ["1.30", "1.37"]


def strict(schema):
    """The schema with unknown fields refused, as the API server does when asked to."""
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" not in schema:
            if not schema.get("x-kubernetes-preserve-unknown-fields"):
                schema["additionalProperties"] = False
        return {key: strict(value) for key, value in schema.items()}
    return [strict(item) for item in schema] if isinstance(schema, list) else schema


def custom_schema(document):
    """The schema of a kind that the Prometheus operator brings."""
    for file in (TOOLS / "crds").glob("*.yaml"):
        # A flag in the middle is how Go writes it; Python wants it at the beginning.
        definition = yaml.safe_load(file.read_text().replace("^(?i)", "(?i)^"))["spec"]
        if definition["names"]["kind"] == document["kind"]:
            [schema] = [v["schema"]["openAPIV3Schema"] for v in definition["versions"] if v["name"] == "v1"]
            schema = strict(copy.deepcopy(schema))
            schema["properties"]["metadata"] = {"type": "object"}
            return schema
    raise absent(f"the definition of {document['kind']}")


class EverySet(unittest.TestCase):
    """What holds of every overlay."""

    at = ""

    def _formatMessage(self, message, standard):
        return f"{super()._formatMessage(message, standard)} ({self.at})"

    def each(self):
        for name, documents in SETS.items():
            self.at = name
            yield documents()

    def each_workload(self):
        for documents in self.each():
            overlay = self.at
            for workload in workloads(documents):
                self.at = f"{overlay}: {workload['metadata']['name']}"
                yield documents, workload

    def test_every_document_is_valid_by_the_schemas_of_kubernetes_and_names_no_unknown_field(self):
        for documents in self.each():
            self.assertGreater(len(documents), 8)
            for document in documents:
                if document["apiVersion"].startswith("monitoring.coreos.com"):
                    jsonschema.validate(document, custom_schema(document))
                    continue
                for version in VERSIONS:
                    kubernetes_validate.validate(document, version, strict=True)

    def test_pods_run_as_a_numbered_user_with_nothing_to_gain_on_a_root_that_is_read_only(self):
        for _, workload in self.each_workload():
            spec = pod_of(workload)["spec"]
            security = spec["securityContext"]
            self.assertTrue(security["runAsNonRoot"])
            self.assertGreater(security["runAsUser"], 0)
            self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertIs(spec["automountServiceAccountToken"], False)
            for shared in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"]:
                self.assertNotIn(shared, spec)
            for volume in spec.get("volumes", []):
                self.assertNotIn("hostPath", volume)
            for container in containers(pod_of(workload)):
                own = container["securityContext"]
                self.assertIs(own["allowPrivilegeEscalation"], False)
                self.assertIs(own["readOnlyRootFilesystem"], True)
                self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
                self.assertNotIn("privileged", own)
                self.assertTrue({"cpu", "memory"} <= container["resources"]["requests"].keys())
                self.assertIn("memory", container["resources"]["limits"])

    def test_namespaces_refuse_what_is_not_restricted_and_service_accounts_have_no_token(self):
        for documents in self.each():
            [namespace] = of_kind(documents, "Namespace")
            self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
            accounts = of_kind(documents, "ServiceAccount")
            self.assertTrue(accounts and all(a["automountServiceAccountToken"] is False for a in accounts))
            inside = [d for d in documents if d["kind"] != "Namespace"]
            self.assertEqual({d["metadata"]["namespace"] for d in inside}, {namespace["metadata"]["name"]})
            self.assertFalse(of_kind(documents, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"))

    def test_images_are_pinned_and_ours_is_this_version_everywhere(self):
        for documents in self.each():
            ours = set()
            for workload in workloads(documents):
                for container in containers(pod_of(workload)):
                    image = container["image"]
                    name, tag = image.rsplit("/", 1)[-1].partition(":")[::2]
                    self.assertTrue("@sha256:" in image or any(c.isdigit() for c in tag), f"{image} is not pinned")
                    if is_ours(container):
                        ours.add(image)
            self.assertEqual(len(ours), 1, f"nodes and migration of one image: {ours}")
            self.assertTrue(ours.pop().endswith(f":{CARGO['version']}"))

    def test_every_setting_is_one_that_help_knows_and_every_value_and_argument_is_taken(self):
        for documents, workload in self.each_workload():
            for container in filter(is_ours, containers(pod_of(workload))):
                values = values_of(container, documents)
                self.assertLessEqual(values.keys(), known_settings())
                if "CARILLON_JWKS_URL" not in values:
                    values.setdefault("CARILLON_JWT_SECRET", "0123456789abcdef0123456789abcdef")
                self.assertIsNone(refused_as_wrong(container["args"], values))

    def test_what_is_secret_comes_from_a_secret(self):
        for documents, workload in self.each_workload():
            for container in containers(pod_of(workload)):
                for name in {v["name"] for v in container.get("env", []) if "value" in v}:
                    self.assertNotRegex(name, r"SECRET|PASSWORD|_KEY$|DATABASE_URL|REDIS_URL")
            for configuration in of_kind(documents, "ConfigMap"):
                for name in configuration["data"]:
                    self.assertNotRegex(name, r"SECRET|PASSWORD|SERVICE_KEY|DATABASE_URL|REDIS_URL")

    def test_selectors_select_and_ports_are_there(self):
        for documents in self.each():
            pods = [pod_of(workload) for workload in workloads(documents)]

            def selected(selector):
                found = [pod for pod in pods if matches(selector, pod["metadata"]["labels"])]
                self.assertTrue(found, f"{selector} selects no pod")
                return found

            for workload in of_kind(documents, "Deployment", "StatefulSet"):
                self.assertEqual(selected(workload["spec"]["selector"]), [pod_of(workload)])
            for service in of_kind(documents, "Service"):
                for pod in selected({"matchLabels": service["spec"]["selector"]}):
                    names = {port["name"] for c in pod["spec"]["containers"] for port in c.get("ports", [])}
                    self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, names)
            for document in of_kind(documents, "PodDisruptionBudget"):
                selected(document["spec"]["selector"])
            for policy in of_kind(documents, "NetworkPolicy"):
                selected(policy["spec"]["podSelector"])
            for constraint in (c for pod in pods for c in pod["spec"].get("topologySpreadConstraints", [])):
                selected(constraint["labelSelector"])
            accounts = {account["metadata"]["name"] for account in of_kind(documents, "ServiceAccount")}
            named = {pod["spec"]["serviceAccountName"] for pod in pods if "serviceAccountName" in pod["spec"]}
            self.assertEqual(named, accounts)

    def test_the_node_leaves_in_its_own_time(self):
        for documents in self.each():
            deployment = one(documents, "Deployment", "carillon")
            spec = pod_of(deployment)["spec"]
            [node] = [c for c in spec["containers"] if is_ours(c)]
            drain = int(values_of(node, documents)["CARILLON_DRAIN_SECS"])
            sleep = node["lifecycle"]["preStop"]["sleep"]["seconds"]
            self.assertGreaterEqual(sleep, 3, "until balancers have heard")
            self.assertGreater(spec["terminationGracePeriodSeconds"], sleep + drain + 10)

    def test_a_rollout_adds_one_node_before_it_takes_one(self):
        for documents in self.each():
            deployment = one(documents, "Deployment", "carillon")
            self.assertEqual(deployment["spec"]["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})
            spread = pod_of(deployment)["spec"]["topologySpreadConstraints"]
            keys = {constraint["topologyKey"] for constraint in spread}
            self.assertEqual(keys, {"kubernetes.io/hostname", "topology.kubernetes.io/zone"})
            self.assertTrue(all(c["matchLabelKeys"] == ["pod-template-hash"] for c in spread))
            self.assertEqual(one(documents, "PodDisruptionBudget", "carillon")["spec"]["maxUnavailable"], 1)
            self.assertEqual(one(documents, "Service", "carillon")["spec"]["sessionAffinity"], "None")

    def test_nodes_wait_for_the_migration_and_do_not_migrate_and_it_alone_has_the_owner_s_password(self):
        for documents in self.each():
            pod = pod_of(one(documents, "Deployment", "carillon"))
            [waits] = pod["spec"]["initContainers"]
            self.assertEqual(waits["args"][:2], ["migrate", "--check"])
            [node] = pod["spec"]["containers"]
            self.assertEqual(values_of(node, documents)["CARILLON_MIGRATE"], "off")
            [migrates] = pod_of(one(documents, "Job", "carillon-migration"))["spec"]["containers"]
            self.assertEqual(migrates["args"], ["migrate"])

            def secrets(container):
                taken = [v["valueFrom"] for v in container["env"] if "valueFrom" in v]
                names = {value["secretKeyRef"]["name"] for value in taken if "secretKeyRef" in value}
                # What is generated ends in a hash of ten letters and digits.
                return {re.sub(r"-[a-z0-9]{10}$", "", name) if name not in WHOLE else name for name in names}

            self.assertEqual(secrets(node) | secrets(waits), {"carillon"})
            self.assertEqual(secrets(migrates), {"carillon", "carillon-migration"})

    def test_every_pod_is_denied_by_default_and_may_ask_for_names(self):
        for documents in self.each():
            policies = of_kind(documents, "NetworkPolicy")
            deny = one(documents, "NetworkPolicy", "deny-by-default")["spec"]
            self.assertEqual(deny, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
            names = Peer(namespace="kube-system", labels={"k8s-app": "kube-dns"})
            for workload in workloads(documents):
                pod = peer(workload)
                self.assertTrue(allowed(policies, pod, names, 53, "UDP"))
                for stranger in [Peer(namespace="default"), Peer(address="203.0.113.9")]:
                    for port in pod.ports.values():
                        self.assertFalse(allowed(policies, stranger, pod, port), f"{stranger.namespace} to {pod.labels}")
                for place in ["169.254.169.254", "10.0.0.1"]:
                    self.assertFalse(allowed(policies, pod, Peer(address=place), 443))
                    self.assertFalse(allowed(policies, pod, Peer(address=place), 80))


def peer(workload) -> Peer:
    pod = pod_of(workload)
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    return Peer(labels=pod["metadata"]["labels"], ports={port["name"]: port["containerPort"] for port in ports})


class TheBinary(unittest.TestCase):
    def test_the_paths_of_probes_monitors_and_ingress_are_answered_and_the_autoscaler_s_metric_is_exported(self):
        with Node() as node:
            for documents in [production(), rendered("development")]:
                [container] = pod_of(one(documents, "Deployment", "carillon"))["spec"]["containers"]
                for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
                    asks = container[probe]["httpGet"]
                    self.assertIn(asks["port"], {port["name"] for port in container["ports"]})
                    self.assertEqual(node.get(asks["path"])[0], 200, asks["path"])
            monitor = one(production(), "ServiceMonitor", "carillon")["spec"]["endpoints"][0]
            status, metrics = node.get(monitor["path"])
            self.assertEqual(status, 200)
            scaler = one(production(), "HorizontalPodAutoscaler", "carillon")["spec"]
            [metric] = [m["pods"]["metric"]["name"] for m in scaler["metrics"] if m["type"] == "Pods"]
            self.assertRegex(metrics, rf"(?m)^{metric} \d")
            answers = {"/ws": 400, "/api/v1": 404, "/carillon-client.js": 200}
            for path in paths(one(production(), "Ingress", "carillon")):
                self.assertEqual(node.get(path["path"])[0], answers.get(path["path"]), path)

    def test_the_port_is_the_one_that_the_node_listens_on(self):
        for documents in [production(), rendered("development")]:
            [container] = pod_of(one(documents, "Deployment", "carillon"))["spec"]["containers"]
            listen = values_of(container, documents)["CARILLON_LISTEN"]
            self.assertEqual(listen.rsplit(":", 1)[1], str(container["ports"][0]["containerPort"]))

    def test_liveness_is_slower_to_judge_than_readiness_and_neither_gives_up_before_the_answer(self):
        [container] = pod_of(one(production(), "Deployment", "carillon"))["spec"]["containers"]
        ready, live = container["readinessProbe"], container["livenessProbe"]
        self.assertEqual((ready["httpGet"]["path"], live["httpGet"]["path"]), ("/readyz", "/livez"))
        # /readyz gives the database two seconds.
        self.assertGreater(ready["timeoutSeconds"], 2)
        patience = lambda probe: probe["periodSeconds"] * probe["failureThreshold"]
        self.assertGreaterEqual(patience(live), 60)
        self.assertLessEqual(patience(ready), 10)


def paths(ingress):
    return [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]


class Production(unittest.TestCase):
    def test_no_secret_is_in_what_is_applied(self):
        self.assertFalse(of_kind(production(), "Secret"))

    def test_the_autoscaler_counts_the_nodes_alone_grows_at_once_and_shrinks_slowly(self):
        deployment = one(production(), "Deployment", "carillon")
        self.assertNotIn("replicas", deployment["spec"], "applying again would undo what the autoscaler did")
        scaler = one(production(), "HorizontalPodAutoscaler", "carillon")["spec"]
        self.assertEqual(scaler["scaleTargetRef"]["name"], deployment["metadata"]["name"])
        self.assertGreaterEqual(scaler["minReplicas"], 3)
        self.assertEqual({metric["type"] for metric in scaler["metrics"]}, {"Pods", "Resource"})
        down = scaler["behavior"]["scaleDown"]
        self.assertGreaterEqual(down["stabilizationWindowSeconds"], 600)
        [policy] = down["policies"]
        self.assertEqual((policy["type"], policy["value"]), ("Pods", 1))
        # By PostgreSQL's default all have their connections, a rollout's pod more included, and a migration.
        [node] = pod_of(deployment)["spec"]["containers"]
        each = int(values_of(node, production())["CARILLON_DB_CONNECTIONS"])
        each += each // 2 + 2
        self.assertLessEqual((scaler["maxReplicas"] + 1) * each + 2, 97)

    def test_the_ingress_leads_to_the_service_and_keeps_quiet_sockets_for_longer_than_two_pings(self):
        ingress, service = one(production(), "Ingress", "carillon"), one(production(), "Service", "carillon")
        ports = {port["name"] for port in service["spec"]["ports"]}
        for path in paths(ingress):
            backend = path["backend"]["service"]
            self.assertEqual(backend["name"], service["metadata"]["name"])
            self.assertIn(backend["port"]["name"], ports)
        self.assertNotIn("/metrics", {path["path"] for path in paths(ingress)})
        annotations = ingress["metadata"]["annotations"]
        for direction in ["read", "send"]:
            self.assertGreater(int(annotations[f"nginx.ingress.kubernetes.io/proxy-{direction}-timeout"]), 2 * 20)
        self.assertFalse([name for name in annotations if "affinity" in name], "sticky sessions")
        hosts = {host for tls in ingress["spec"]["tls"] for host in tls["hosts"]}
        self.assertEqual(hosts, {rule["host"] for rule in ingress["spec"]["rules"]}, "each with a certificate")

    def test_the_monitor_finds_the_service(self):
        monitor, service = one(production(), "ServiceMonitor", "carillon")["spec"], one(production(), "Service", "carillon")
        self.assertTrue(matches(monitor["selector"], service["metadata"]["labels"]))
        self.assertIn(monitor["endpoints"][0]["port"], {port["name"] for port in service["spec"]["ports"]})

    def test_the_alerts_are_those_for_a_prometheus_without_an_operator(self):
        rules = one(production(), "PrometheusRule", "carillon")
        alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
        self.assertEqual(rules["spec"], alerts, "run deploy/prometheus/make-rule")
        self.assertEqual(rules["metadata"]["labels"], one(production(), "ServiceMonitor", "carillon")["metadata"]["labels"])

    def test_nodes_reach_what_they_need_and_are_reached_by_the_balancer_and_by_prometheus_alone(self):
        policies = of_kind(production(), "NetworkPolicy")
        node = peer(one(production(), "Deployment", "carillon"))
        job = peer(one(production(), "Job", "carillon-migration"))
        postgres, redis = Peer(address="192.0.2.10"), Peer(address="192.0.2.20")
        public = Peer(address="8.8.8.8")
        for source, target, port, open_ in [
            (node, postgres, 5432, True),
            (job, postgres, 5432, True),
            (node, redis, 6379, True),
            (job, redis, 6379, False),
            (node, postgres, 6379, False),
            (node, public, 443, True),
            (job, public, 443, False),
            (node, public, 80, False),
            (node, Peer(address="fd00::1"), 443, False),
            (node, Peer(address="2606:4700::1"), 443, True),
            (Peer(namespace="ingress-nginx"), node, 8080, True),
            (Peer(namespace="monitoring"), node, 8080, True),
            (Peer(namespace="ingress-nginx"), node, 22, False),
            (node, node, 8080, False),
        ]:
            self.assertIs(allowed(policies, source, target, port), open_, (source.labels, target.address, port))


class Development(unittest.TestCase):
    def test_without_secrets_of_one_s_own_nothing_is_built(self):
        if (ROOT / "k8s/overlays/development/secrets").exists():
            self.skipTest("somebody made secrets here")
        built = run(need("kustomize"), "build", "k8s/overlays/development")
        self.assertNotEqual(built.returncode, 0)
        self.assertIn("secrets/", built.stderr)

    def test_every_secret_differs(self):
        secrets = [secret for document in of_kind(rendered("development"), "Secret") for secret in document["data"].values()]
        self.assertEqual(len(secrets), 4 + 1 + 3 + 1)
        self.assertEqual(len(secrets), len(set(secrets)))

    def test_each_component_reaches_what_it_needs_and_nothing_else_within_the_namespace(self):
        documents = rendered("development")
        policies = of_kind(documents, "NetworkPolicy")
        pods = {
            "node": peer(one(documents, "Deployment", "carillon")),
            "migration": peer(one(documents, "Job", "carillon-migration")),
            "postgres": peer(one(documents, "StatefulSet", "postgres")),
            "redis": peer(one(documents, "Deployment", "redis")),
        }
        wanted = {("node", "postgres"), ("node", "redis"), ("migration", "postgres")}
        for source in pods:
            for target in ["node", "postgres", "redis"]:
                [port] = pods[target].ports.values()
                open_ = allowed(policies, pods[source], pods[target], port)
                self.assertIs(open_, (source, target) in wanted, f"{source} to {target}")


class TheProgram(unittest.TestCase):
    def test_the_defaults_that_these_files_reckon_with_are_those_of_the_program(self):
        self.assertRegex(help_text(), r"\[env: CARILLON_PING_INTERVAL_SECS=?\] \[default: 20\]")


if __name__ == "__main__":
    unittest.main()
