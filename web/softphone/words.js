// What the page calls things.

/** What can be muted or refused. */
export const WORDS = { audio: "microphone", camera: "camera", screen: "screen" };

/** What the line under the name says. */
export function statusText(session) {
  if (session.phase === "ended") return OUTCOMES[session.outcome];
  if (session.phase === "outgoing") {
    const states = [...session.rings.values()];
    if (states.includes("ringing")) return "Ringing…";
    if (states.length > 0 && states.every((state) => state === "unreachable")) return "No device reachable yet…";
    return "Calling…";
  }
  const media = session.mediaState;
  if (media === "connected") return "Connected";
  if (session.isGroup && session.others.length === 0) return "Waiting for others…";
  return media === "reconnecting" ? "Reconnecting…" : "Connecting…";
}

export const OUTCOMES = {
  completed: "Call ended",
  declined: "Declined",
  busy: "Busy",
  no_answer: "No answer",
  unreachable: "Unreachable",
  cancelled: "Cancelled",
  elsewhere: "Answered on another device",
  missed: "Missed call",
  failed: "Call failed",
};
