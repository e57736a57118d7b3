//! How good the media of a call was, in four words.
//!
//! The words follow the E-model of ITU-T G.107, which rates a conversation from 0 to 100 (R), with its default values
//! and what a client can know put in:
//!
//! - R = 93.2 − Id − Ie. 93.2 is what is left of 100 with all other impairments at their defaults (G.107).
//! - Id = 0.024·d + 0.11·(d − 177.3) where d > 177.3 ms: the delay impairment of G.107 without echo, as simplified by
//!   R. G. Cole and J. H. Rosenbluth, "Voice over IP performance monitoring" (ACM SIGCOMM CCR 31, 2001). It stays small
//!   up to the 150 ms that ITU-T G.114 finds good for most uses, and by G.114's limit of 400 ms it has made R poor.
//! - d, from mouth to ear = round trip / 2 + 2·jitter + 10 ms: a jitter buffer that holds twice the jitter, and 10 ms
//!   for coding. That is a rule of thumb of network monitoring, not of a standard.
//! - Ie = 95·loss / (loss + 25.1), loss in percent: G.107's effective equipment impairment for random loss, with the
//!   robustness that ITU-T G.113 Appendix I gives G.711 with concealment (Ie 0, Bpl 25.1).
//!
//! The bounds of the words are the categories of ITU-T G.109: 80 and above its "best" and "high" (users are satisfied),
//! 70 its "medium" (some are not), 60 its "low" (many are not), below it hardly anybody is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// R with nothing wrong.
const BEST: f64 = 93.2;
/// From here on delay is heard as such, in milliseconds.
const DELAY_KNEE_MS: f64 = 177.3;
/// Packet loss robustness (Bpl). Larger: loss counts for less.
const LOSS_ROBUSTNESS: f64 = 25.1;
/// What coding takes, in milliseconds.
const CODING_MS: f64 = 10.0;

/// The state of a client's ICE agent (W3C `RTCIceConnectionState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IceState {
    New,
    Checking,
    Connected,
    Completed,
    Disconnected,
    Failed,
    Closed,
}

impl IceState {
    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Checking => "checking",
            Self::Connected => "connected",
            Self::Completed => "completed",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

/// What a client measured. All of it may be unknown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    pub jitter_ms: Option<f64>,
    /// 0 to 100.
    pub packet_loss_pct: Option<f64>,
    pub round_trip_ms: Option<f64>,
    pub bandwidth_kbps: Option<f64>,
    pub fps: Option<f64>,
    /// As `1280x720`.
    pub resolution: Option<String>,
    pub codec: Option<String>,
    pub ice_state: Option<IceState>,
    pub used_turn: Option<bool>,
}

/// How good it was. In order, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    Poor,
    Fair,
    Good,
    Excellent,
}

impl Score {
    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Poor => "poor",
            Self::Fair => "fair",
            Self::Good => "good",
            Self::Excellent => "excellent",
        }
    }
}

/// The rating R, 0 to 93.2. What is unknown is taken to be perfect; `None`: all of it is unknown.
pub fn rating(jitter_ms: Option<f64>, packet_loss_pct: Option<f64>, round_trip_ms: Option<f64>) -> Option<f64> {
    if jitter_ms.is_none() && packet_loss_pct.is_none() && round_trip_ms.is_none() {
        return None;
    }
    let delay = round_trip_ms.unwrap_or(0.0) / 2.0 + 2.0 * jitter_ms.unwrap_or(0.0) + CODING_MS;
    let of_delay = 0.024 * delay + 0.11 * (delay - DELAY_KNEE_MS).max(0.0);
    let loss = packet_loss_pct.unwrap_or(0.0);
    let of_loss = 95.0 * loss / (loss + LOSS_ROBUSTNESS);
    Some((BEST - of_delay - of_loss).max(0.0))
}

/// The word for a rating.
pub fn score_of_rating(rating: f64) -> Score {
    match rating {
        r if r >= 80.0 => Score::Excellent,
        r if r >= 70.0 => Score::Good,
        r if r >= 60.0 => Score::Fair,
        _ => Score::Poor,
    }
}

impl Measured {
    /// `None`: nothing was measured that says. A connection that is interrupted is poor whatever else was measured.
    pub fn score(&self) -> Option<Score> {
        if matches!(self.ice_state, Some(IceState::Failed | IceState::Disconnected)) {
            return Some(Score::Poor);
        }
        rating(self.jitter_ms, self.packet_loss_pct, self.round_trip_ms).map(score_of_rating)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(jitter: f64, loss: f64, round_trip: f64) -> Score {
        score_of_rating(rating(Some(jitter), Some(loss), Some(round_trip)).unwrap())
    }

    #[test]
    fn the_words_follow_delay_and_loss() {
        for (jitter, loss, round_trip, wanted) in [
            (0.0, 0.0, 0.0, Score::Excellent),
            (5.0, 0.5, 60.0, Score::Excellent),
            // G.114: 150 ms one way are good for most uses.
            (0.0, 0.0, 280.0, Score::Excellent),
            (10.0, 3.0, 100.0, Score::Excellent),
            (10.0, 5.0, 100.0, Score::Good),
            (0.0, 0.0, 500.0, Score::Good),
            (20.0, 8.0, 200.0, Score::Fair),
            // G.114: 400 ms one way are not to be exceeded.
            (0.0, 0.0, 800.0, Score::Poor),
            (0.0, 20.0, 0.0, Score::Poor),
            (200.0, 0.0, 100.0, Score::Poor),
        ] {
            assert_eq!(score(jitter, loss, round_trip), wanted, "{jitter} ms, {loss} %, {round_trip} ms");
        }
    }

    #[test]
    fn the_rating_falls_with_each_and_never_below_nothing() {
        let mut before = f64::INFINITY;
        for step in 0..100 {
            let bad = f64::from(step);
            let now = rating(Some(bad * 10.0), Some(bad), Some(bad * 20.0)).unwrap();
            assert!(now <= before && now >= 0.0, "{step}: {now}");
            before = now;
        }
    }

    #[test]
    fn nothing_measured_is_not_scored_and_an_interrupted_connection_is_poor() {
        let nothing = Measured { fps: Some(30.0), ice_state: Some(IceState::Connected), ..Measured::default() };
        assert_eq!(nothing.score(), None);
        let cut = Measured { ice_state: Some(IceState::Failed), jitter_ms: Some(0.0), ..Measured::default() };
        assert_eq!(cut.score(), Some(Score::Poor));
    }
}
