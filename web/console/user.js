// One user: where they are connected, which calls they are in, and which they were in lately.
// Never: takes a node that did not answer for one on which the user is not.

import { get, path } from "./api.js";
import { disconnectUser } from "./acts.js";
import { callsTable } from "./calls.js";
import { Feed } from "./feed.js";
import { plain } from "./format.js";
import { callLink, callState, condition, copy, fill, h, id, lasting, panel, section, when } from "./parts.js";
import { table } from "./table.js";

export function userView([userId]) {
  const asked = h("div", {});
  const unasked = h("div", {});
  const buttons = h("div", { class: "buttons" });
  const sessions = table({
    caption: "Sessions", testid: "sessions", key: (one) => one.sessionId, empty: "No session on the nodes that answered.",
    columns: [
      { title: "Device", head: true, cell: (one) => id(one.deviceId) },
      { title: "Node", cell: (one) => id(one.nodeId) },
      { title: "Connected", number: true, cell: (one) => when(one.connectedAt) },
      { title: "Session", cell: (one) => [id(one.sessionId), " ", copy(one.sessionId, "session id")] },
    ],
  });
  const open = callsTable(() => feed.now(), "user-calls");
  const recent = table({
    caption: "Calls of late", testid: "recent-calls", key: (call) => call.callId, empty: "No calls on record.",
    columns: [
      { title: "Call", head: true, cell: (call) => callLink(call.callId) },
      { title: "Status", cell: (call) => callState(call.status) },
      { title: "Started", number: true, cell: (call) => when(call.createdAt) },
      { title: "Lasted", number: true, cell: (call) => lasting(call.createdAt, call.endedAt) },
      { title: "Ended because", cell: (call) => plain(call.endReason) || "–" },
    ],
  });
  const feed = new Feed((signal) => get(path`admin/users/${userId}`, {}, signal), draw);

  function draw() {
    fill(asked, condition(feed));
    const { data } = feed;
    if (!data) return;
    const missing = data.unreachableNodes ?? [];
    fill(unasked, missing.length > 0 && h("p", { class: "problem", "data-testid": "unreachable" },
      `Not known for ${missing.join(", ")}: no answer. The user may have sessions there.`));
    sessions.update(data.sessions);
    open.update(data.calls);
    recent.update(data.recentCalls);
    fill(buttons, h("button", {
      class: "act danger-quiet", type: "button", "data-testid": "disconnect",
      onclick: async () => {
        const { sessions: now, calls } = feed.data;
        if (await disconnectUser({ userId, sessions: now.length, calls: calls.length })) feed.now();
      },
    }, "Disconnect this user"));
  }

  const element = h("div", {},
    panel("User", "user-panel", h("p", { class: "subject" }, id(userId), " ", copy(userId, "user id")), asked, buttons,
      h("p", {}, h("a", { href: `#/audit?target=${encodeURIComponent(userId)}` }, "Acts on record"))),
    section("Sessions", "sessions-panel", unasked, sessions.element),
    section("Open calls", "user-calls-panel", open.element),
    section("Calls of late", "recent-panel", recent.element));
  return { title: `User ${userId}`, element, close: () => feed.close() };
}
