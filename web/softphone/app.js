// The softphone: puts the client, the telephone and the views together.
// Owns: the sign-in (the token stays in this tab's session storage) and the frame of the page.
// Never: sends the token anywhere but in the first frame of the socket; a link carries it in the fragment, which no
// server sees, and the fragment is taken out of the address bar at once.

import { CarillonClient } from "../carillon-client.js";
import { dialerView } from "./dialer.js";
import { avatar, h, icon, names } from "./dom.js";
import { inCallView } from "./incall.js";
import { incomingView } from "./incoming.js";
import { Phone } from "./phone.js";
import { recentsView } from "./recents.js";
import { Ringtone } from "./ringtone.js";
import { signInView } from "./signin.js";
import { OUTCOMES, statusText } from "./words.js";

const TOKEN_KEY = "carillon.token";
// Long enough to read how the call ended, and to press "Call again".
const OUTCOME_SHOWN_MS = 6_000;
const NOTICE_SHOWN_MS = 5_000;
const CONNECTION = {
  idle: "Offline", connecting: "Connecting…", connected: "Online", reconnecting: "Reconnecting…", closed: "Signed out",
};
const WHY_SIGNED_OUT = {
  token_expired: "Your token has expired. Sign in with a new one.",
  disconnected_by_operator: "An operator has signed you out.",
};

const root = document.querySelector("#app");
const live = document.querySelector("#live");
const ringtone = new Ringtone();
let phone = null;
let said = "";
let dismissTimer;
let noticeTimer;

const signIn = signInView({ onToken: start });
const dialer = dialerView({ onCall: (userIds, video) => { phone.call(userIds, { video }); dialer.clear(); } });
const recents = recentsView({
  onCall: (userIds, video) => phone.call(userIds, { video }),
  onClear: () => { phone.recents.clear(); draw(); },
});
const incoming = incomingView({
  onAccept: (callId, video) => phone.accept(callId, { video }),
  onDecline: (callId) => phone.decline(callId),
});
const inCall = inCallView({
  onDismiss: () => phone.dismiss(),
  onCallAgain: ({ peers, video }) => { phone.dismiss(); phone.call(peers, { video }); },
  onNotice: notify,
});

const connection = h("span", { class: "connection", role: "status", "data-testid": "connection-state" });
const me = h("span", { class: "me", "data-testid": "me" });
const toast = h("div", { class: "toast", role: "status", "data-testid": "notice", hidden: true });
const home = h("div", { class: "home" },
  h("header", { class: "bar" },
    h("span", { class: "brand" }, icon("bell"), "Carillon"),
    connection, me,
    h("button", { class: "quiet", type: "button", "data-testid": "sign-out", onclick: () => signOut() }, "Sign out")),
  h("main", { class: "columns" }, dialer.element, recents.element));

function tokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

function showSignIn(problem) {
  root.replaceChildren(signIn.element);
  signIn.update(problem);
  signIn.focus();
}

function start(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
  const client = new CarillonClient({ url: location.href, token, deviceName: "Softphone" });
  // `?relay`: for who does not want to show their address to the others. `?mode=sfu`: calls begin on the media server.
  const asked = new URLSearchParams(location.search);
  phone = new Phone({ client, relayOnly: asked.has("relay"), mode: asked.get("mode") ?? undefined, onChange: draw, onNotice: notify });
  window.carillon = {
    client,
    get session() { return phone?.session ?? null; },
    /** What the browser tests look at: per person the way, the connection's state and the frames decoded. */
    stats: async () => (await phone?.session?.transport.stats()) ?? [],
  };
  root.replaceChildren(home, inCall.element, incoming.element, toast);
  // A refusal is shown by `draw`, which hears of it by the state.
  client.connect().catch(() => {});
  draw();
}

function signOut(problem) {
  const old = phone;
  phone = null;
  old?.close();
  ringtone.play(null);
  sessionStorage.removeItem(TOKEN_KEY);
  showSignIn(problem);
}

function draw() {
  if (!phone) return;
  const { state, code, error } = phone.connection;
  if (state === "closed" && code !== 4003) {
    signOut(WHY_SIGNED_OUT[error?.code] ?? "The node did not accept this token.");
    return;
  }
  connection.dataset.state = state;
  connection.textContent = code === 4003 && state === "closed" ? "In use in another tab" : CONNECTION[state];
  const userId = phone.userId;
  if (userId && me.dataset.user !== userId) {
    me.dataset.user = userId;
    me.replaceChildren(avatar(userId, "small"), h("strong", {}, userId));
    document.title = `${userId} · Carillon`;
  }
  me.hidden = !me.dataset.user;
  dialer.update(state === "connected" || state === "reconnecting");
  recents.update(phone.recents?.list() ?? []);

  const { session } = phone;
  const ring = phone.incoming[0] ?? null;
  const busy = session !== null && session.phase !== "ended";
  inCall.update(session);
  home.inert = session !== null;
  incoming.update(ring, busy);
  ringtone.play(ring ? (busy ? "waiting" : "incoming") : session?.phase === "outgoing" ? "outgoing" : null);
  leaveOutcome(session);
  announce(session, ring);
}

// An ended call stays on the screen for a moment, then goes by itself.
function leaveOutcome(session) {
  if (session?.phase !== "ended") {
    clearTimeout(dismissTimer);
    dismissTimer = undefined;
  } else if (dismissTimer === undefined) {
    ringtone.end();
    dismissTimer = setTimeout(() => phone?.dismiss(), OUTCOME_SHOWN_MS);
  }
}

// For who does not see the page; also the title of a tab in the background.
function announce(session, ring) {
  let text = "";
  if (ring) text = `Incoming ${ring.video ? "video " : ""}call from ${ring.from}`;
  else if (session) text = `${names(session.peers)}: ${session.phase === "ended" ? OUTCOMES[session.outcome] : statusText(session)}`;
  if (text === said) return;
  said = text;
  live.textContent = text;
  document.title = text || (phone.userId ? `${phone.userId} · Carillon` : "Carillon");
}

function notify(text) {
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { toast.hidden = true; }, NOTICE_SHOWN_MS);
}

// A second link opened in the same tab changes only the fragment.
window.addEventListener("hashchange", () => {
  const token = tokenFromAddress();
  if (!token) return;
  const old = phone;
  phone = null;
  old?.close();
  start(token);
});

const token = tokenFromAddress() ?? sessionStorage.getItem(TOKEN_KEY);
if (token) start(token);
else showSignIn();
