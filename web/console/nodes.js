// The nodes: since when, how much they carry, how long their lease holds, what they do without.

import { get, now } from "./api.js";
import { drainNode } from "./acts.js";
import { Feed } from "./feed.js";
import { count } from "./format.js";
import { condition, copy, fill, h, id, lasting, panel, state, when, hrefs } from "./parts.js";
import { table } from "./table.js";

const STATES = { live: "good", draining: "busy", gone: "over" };

export function nodesView() {
  let answeredBy;
  const asked = h("div", {});
  const list = table({
    caption: "Nodes", testid: "nodes", key: (node) => node.nodeId, empty: "No node has said anything in 24 h.",
    columns: [
      { title: "Node", head: true, cell: (node) => [id(node.nodeId), " ", copy(node.nodeId, "node id"), node.nodeId === answeredBy && h("span", { class: "note" }, "answers this page")] },
      { title: "State", cell: (node) => stateOf(node) },
      { title: "Age", number: true, cell: (node) => node.state === "gone" ? lasting(node.startedAt, node.leaseUntil) : lasting(node.startedAt) },
      { title: "Lease", number: true, cell: leaseOf },
      { title: "Sessions", number: true, cell: (node) => load(node, node.sessions) },
      { title: "Sockets", number: true, cell: (node) => load(node, node.sockets) },
      { title: "Calls", number: true, cell: (node) => node.calls > 0 && node.state !== "gone"
        ? h("a", { href: hrefs.calls({ node: node.nodeId }) }, count(node.calls)) : load(node, node.calls) },
      { title: "Does without", cell: wantOf },
      { title: "Version", cell: (node) => node.version ?? "–" },
      { title: "Address", cell: (node) => node.address ? id(node.address) : "–" },
      { title: "Act", acts: true, cell: (node, current) => node.state === "live" && h("button", {
        class: "act danger-quiet", type: "button", "aria-label": `Drain node ${node.nodeId}`, "data-testid": "drain",
        onclick: () => drain(current()),
      }, "Drain") },
    ],
  });
  const feed = new Feed((signal) => get("admin/nodes", {}, signal), draw);

  async function drain(node) {
    const others = feed.data.nodes.filter((one) => one.state === "live" && one.nodeId !== node.nodeId).length;
    if (await drainNode(node, { others })) feed.now();
  }

  function draw() {
    fill(asked, condition(feed));
    answeredBy = feed.data?.answeredBy;
    const order = { live: 0, draining: 1, gone: 2 };
    const nodes = [...(feed.data?.nodes ?? [])].sort((one, other) =>
      (order[one.state] ?? 3) - (order[other.state] ?? 3) || Date.parse(other.startedAt) - Date.parse(one.startedAt));
    if (feed.data) list.update(nodes);
  }

  const element = panel("Nodes", "nodes-panel",
    h("p", { class: "quiet" }, "Loads are what each node last wrote with its lease. Nodes that are gone stay here for 24 h."), asked, list.element);
  draw();
  return { title: "Nodes", element, close: () => feed.close() };
}

function stateOf(node) {
  const isLate = node.state !== "gone" && Date.parse(node.leaseUntil) < now();
  return isLate ? state("bad", `${node.state}, lease ended`, "node-state") : state(STATES[node.state] ?? "bad", node.state, "node-state");
}

function leaseOf(node) {
  return node.state === "gone" ? ["ended ", when(node.leaseUntil)] : when(node.leaseUntil);
}

const load = (node, value) => node.state === "gone" ? "–" : Number.isFinite(value) ? count(value) : h("span", { class: "none" }, "not told");

function wantOf(node) {
  if (node.state === "gone") return "–";
  const without = [...(node.degraded ?? [])];
  if (node.busUp === false) without.push("bus");
  return without.length > 0 ? state("bad", without.join(", ")) : "nothing";
}
