//! What is told of each sweeper to whoever asks what there is.

use std::time::Duration;

use super::all;

/// A sweeper, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    pub name: &'static str,
    /// What it does, in a sentence.
    pub what: &'static str,
    /// How often it runs, about.
    pub interval: Duration,
}

/// Every sweeper; `usual`: how often those run that say nothing else.
pub fn described(usual: Duration) -> Vec<Described> {
    let of = |sweeper: &dyn super::Sweeper| Described {
        name: sweeper.name(),
        what: what(sweeper.name()),
        interval: sweeper.interval(usual),
    };
    all().into_iter().map(of).collect()
}

/// What the sweeper of this name does, in a sentence.
fn what(name: &str) -> &'static str {
    match name {
        "stale_ringing" => "Ends rings whose deadline has passed and that their call's timer has missed.",
        "stale_connecting" => "Settles people who have waited for media past the end of that wait.",
        "max_duration" => "Ends calls that have gone on for longer than calls may.",
        "left_behind" => "Finds people who are in a call with a device that is connected nowhere.",
        "orphan_rooms" => "Closes rooms on the media server whose call has been over for a minute.",
        "stuck_recordings" => {
            "Settles recordings that the media server knows nothing of any more, or whose file never came."
        }
        "expired_recordings" => "Deletes the files of recordings whose retention is over or that were deleted.",
        "takeover" => "Takes over calls whose owner is gone.",
        "old_audit" => "Forgets records of the audit log that are older than they are kept.",
        _ => "",
    }
}
