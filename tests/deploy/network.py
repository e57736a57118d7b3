"""Whether a connection is let through by NetworkPolicies: their semantics, small, for tests.

A pod that no policy of a direction selects is open in that direction; one that is selected is open to what any of them
names. A connection needs both ends.
"""

import ipaddress


def matches(selector: dict | None, labels: dict) -> bool:
    selector = selector or {}
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for term in selector.get("matchExpressions", []):
        value, operator = labels.get(term["key"]), term["operator"]
        fits = {
            "In": lambda: value in term.get("values", []),
            "NotIn": lambda: value not in term.get("values", []),
            "Exists": lambda: value is not None,
            "DoesNotExist": lambda: value is None,
        }[operator]()
        if not fits:
            return False
    return True


class Peer:
    """One end: a pod of this namespace (labels, named ports), a pod of another one (its name), or an address."""

    def __init__(self, labels=None, ports=None, namespace=None, address=None):
        self.labels, self.ports, self.namespace, self.address = labels or {}, ports or {}, namespace, address

    @property
    def is_here(self) -> bool:
        return self.namespace is None and self.address is None


def named(peers: list, other: Peer) -> bool:
    for peer in peers:
        if "ipBlock" in peer:
            if other.address is None:
                continue
            address, block = ipaddress.ip_address(other.address), peer["ipBlock"]
            inside = lambda cidr: address in ipaddress.ip_network(cidr)
            if inside(block["cidr"]) and not any(inside(cidr) for cidr in block.get("except", [])):
                return True
            continue
        if other.address is not None:
            continue
        if "namespaceSelector" in peer:
            place = {"kubernetes.io/metadata.name": other.namespace}
            if other.is_here or not matches(peer["namespaceSelector"], place):
                continue
        elif not other.is_here:
            continue
        if matches(peer.get("podSelector"), other.labels):
            return True
    return False


def allowed(policies: list, source: Peer, target: Peer, port: int, protocol="TCP") -> bool:
    def passes(direction: str, own: Peer, other: Peer) -> bool:
        if not own.is_here:
            return True
        of_direction = [
            policy["spec"]
            for policy in policies
            if direction.capitalize() in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], own.labels)
        ]
        if not of_direction:
            return True
        for spec in of_direction:
            for rule in spec.get(direction, []):
                peers = rule.get("from" if direction == "ingress" else "to")
                wanted = rule.get("ports")
                number = lambda name: target.ports.get(name) if isinstance(name, str) else name
                fits = wanted is None or any(
                    entry.get("protocol", "TCP") == protocol and number(entry.get("port", port)) == port for entry in wanted
                )
                if fits and (peers is None or named(peers, other)):
                    return True
        return False

    return passes("egress", source, target) and passes("ingress", target, source)
