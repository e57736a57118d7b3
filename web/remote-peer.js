// Somebody in a call, as the page shows them: one stream, whichever way its tracks come.
// Owns: which tracks are in the stream. Never: makes, stops or waits for a track.

/** Somebody's media: a stream that stays the same object for as long as they are in the call. */
export class RemotePeer {
  /** Their voice and picture. */
  stream = new MediaStream();
  /** Their screen beside the camera, in a room; from peer to peer it takes the camera's place in `stream`. */
  screen = null;
  /** `p2p` or `sfu`. */
  via = "p2p";
  /** `connecting`, `connected` or `reconnecting`. */
  state = "connecting";
  speaking = false;
  heardAt = 0;

  constructor(userId) { this.userId = userId; }

  /** Puts these tracks into the stream, the new ones in before the old ones out: the picture stands in between. */
  show(tracks) {
    const before = this.stream.getTracks();
    for (const track of tracks) if (!before.includes(track)) this.stream.addTrack(track);
    for (const track of before) if (!tracks.includes(track)) this.stream.removeTrack(track);
  }

  showScreen(tracks) {
    if (tracks.length === 0) { this.screen = null; return; }
    const now = this.screen?.getTracks() ?? [];
    if (tracks.length !== now.length || tracks.some((track) => !now.includes(track))) this.screen = new MediaStream(tracks);
  }
}
