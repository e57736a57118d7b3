// The ladder of a call: from the events of its timeline to lines, rows and arrows. Pure: it draws nothing.
// Never: fails on a kind of event it does not know; that is shown as what is known of it.

/** Between two events, from here on, the gap has a row of its own. */
export const GAP_MS = 1_000;

// Who an event comes from and where it goes. in: somebody told the node; out: the node tells somebody; lost: the node
// no longer hears somebody; note: the node has seen something of somebody; mark: it is between the node and itself.
// Where `by` is somebody else than whom it is about, it goes from them by the node, whatever stands here.
const KINDS = {
  created: ["in", "starts the call"],
  ringing: ["in", "device rings"],
  unreachable: ["lost", "no device connected"],
  accepted: ["in", "accepts"],
  declined: ["in", "declines"],
  busy: ["in", "is busy"],
  missed: ["out", "ring ran out"],
  invited: ["out", "invites"],
  joined: ["in", "comes in"],
  moved: ["in", "moves to this device"],
  connected: ["out", "media works"],
  media_changed: ["in", "switches media"],
  reconnecting: ["lost", "connection lost"],
  reconnected: ["in", "is back"],
  left: ["in", "leaves"],
  role_changed: ["out", "role given"],
  kicked: ["out", "is put out"],
  mute_requested: ["out", "asked to mute"],
  lock_changed: ["in", "locks or unlocks"],
  lobby_waiting: ["in", "waits in the lobby"],
  admitted: ["out", "let in"],
  denied: ["out", "not let in"],
  hand_raised: ["in", "raises or lowers hand"],
  held: ["in", "holds"],
  resumed: ["in", "resumes"],
  transferred: ["in", "hands the call on"],
  recording_started: ["in", "starts recording"],
  recording_stopped: ["in", "recording stops"],
  recording_changed: ["mark", "recording changes"],
  escalating: ["in", "move to the media server begins"],
  room_opened: ["mark", "room is open"],
  room_joined: ["note", "seen in the room"],
  room_left: ["note", "gone from the room"],
  escalated: ["mark", "is on the media server"],
  escalation_aborted: ["mark", "stays peer to peer"],
  cancelled: ["in", "cancels"],
  ended: ["end", "call ends"],
};

/** What an event is called. */
export function words(event) {
  const text = KINDS[event.kind]?.[1] ?? String(event.kind).replaceAll("_", " ");
  const why = [event.status, event.reason].filter(Boolean).map((word) => word.replaceAll("_", " "));
  return why.length > 0 ? `${text} (${why.join(", ")})` : text;
}

const everyone = (event) => [event.userId, ...(event.userIds ?? []), event.by].filter((user) => typeof user === "string");
const userKey = (user, device) => JSON.stringify(["user", user, device ?? null]);
const nodeKey = (node) => JSON.stringify(["node", node]);

// Who appears, with the devices they appear with: the caller first, then the nodes, then the others as they come.
function linesOf(events) {
  const users = new Map();
  const nodes = new Set();
  for (const event of events) {
    nodes.add(event.node);
    for (const user of everyone(event)) if (!users.has(user)) users.set(user, new Set());
    if (event.deviceId && event.userId) users.get(event.userId).add(event.deviceId);
  }
  const lines = [...users].flatMap(([user, devices]) => devices.size > 1
    ? [...devices].map((device) => ({ key: userKey(user, device), kind: "user", user, device }))
    : [{ key: userKey(user), kind: "user", user, device: [...devices][0] }]);
  const [first] = users.keys();
  const own = [...nodes].map((node) => ({ key: nodeKey(node), kind: "node", node }));
  return [...lines.filter((line) => line.user === first), ...own, ...lines.filter((line) => line.user !== first)];
}

/**
 * `events`: in order of `seq`, as the timeline has them. Answers with
 * `lines`: `{key, kind: "user"|"node", user?, device?, node?}`, from left to right;
 * `rows`, from above: `{type: "owner", node, epoch, before?, beforeEpoch?}`, `{type: "gap", ms}`,
 * `{type: "event", event, text, node, from?, to: [keys], way}`.
 * `before`: the event ahead of the first, if there is one that is not shown.
 */
export function ladder(events, before = null) {
  const lines = linesOf(events);
  const places = new Map(lines.map((line, n) => [line.key, n]));
  // The device a user is at, for events that name none.
  const present = new Map(lines.filter((line) => line.device).reverse().map((line) => [line.user, line.device]));
  const lineOf = (user, device) => {
    const key = userKey(user, device ?? present.get(user));
    return places.has(key) ? key : userKey(user);
  };
  const rows = [];
  let last = before;
  for (const event of events) {
    const gap = event.sincePreviousMs ?? 0;
    if (rows.length > 0 && gap >= GAP_MS) rows.push({ type: "gap", ms: gap });
    if (last === null || last.node !== event.node || last.epoch !== event.epoch) {
      rows.push({ type: "owner", node: event.node, epoch: event.epoch, before: last?.node, beforeEpoch: last?.epoch });
    }
    rows.push(step(event, lineOf));
    if (event.deviceId && event.userId && event.kind !== "ringing") present.set(event.userId, event.deviceId);
    last = event;
  }
  return { lines, rows };
}

function step(event, lineOf) {
  const known = KINDS[event.kind]?.[0];
  const about = [event.userId, ...(event.userIds ?? [])].filter((user) => typeof user === "string");
  const others = about.filter((user) => user !== event.by);
  const row = { type: "event", event, text: words(event), node: nodeKey(event.node), from: null, to: [], way: known ?? "note" };
  const at = (users) => [...new Set(users.map((user) => lineOf(user, user === event.userId ? event.deviceId : undefined)))];
  if (known === "end") {
    if (event.by) row.from = lineOf(event.by);
  } else if (event.by && others.length > 0) {
    Object.assign(row, { from: lineOf(event.by), to: at(others), way: "through" });
  } else if (about.length === 0) {
    Object.assign(row, event.by ? { from: lineOf(event.by), way: "in" } : { way: "mark" });
  } else if (row.way === "in" && isTheirs(event)) {
    [row.from] = at(about);
  } else if (row.way === "in" || row.way === "out") {
    Object.assign(row, { to: at(about), way: "out" });
  } else {
    row.to = at(about);
  }
  return row;
}

// Some things a user does, or the node does to them: without a device nobody has said that they are busy, and who has
// left for another reason than their own was taken out.
function isTheirs(event) {
  if (event.kind === "busy") return Boolean(event.deviceId);
  if (event.kind === "left") return event.reason === undefined || event.reason === "completed";
  return true;
}

/** How a change of the owner is told. */
export function ownerText({ node, epoch, before, beforeEpoch }) {
  if (before === undefined) return `${node} owns the call (epoch ${epoch})`;
  if (before === node) return `${node} takes the call up again (epoch ${beforeEpoch} → ${epoch})`;
  return `${node} takes over from ${before} (epoch ${beforeEpoch} → ${epoch})`;
}
