//! When a delivery that has failed is tried again.
//!
//! What is of use later too is tried over hours, ever more rarely. What is of no use after its time (a ring) is tried
//! often until then, and not after.

use std::time::Duration;

use chrono::DateTime;

use crate::domain::Timestamp;

/// The first wait of what runs out, doubled each time. Shorter would press an endpoint that is starting again; a ring has
/// some tens of seconds in all.
const URGENT: Duration = Duration::from_secs(1);
/// Its longest wait.
const URGENT_MOST: Duration = Duration::from_secs(8);
/// An endpoint may ask to be left in peace for so long at most. Longer, and a mistake of its proxy holds back what it
/// waits for.
const MOST_ASKED: Duration = Duration::from_secs(6 * 60 * 60);

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    After(Duration),
    Dead,
    Expired,
}

/// After attempt number `attempt` (from 1) has failed. `asked`: how long the endpoint asks to be left in peace; `luck`:
/// from 0 to 1.
pub(super) fn next(
    attempt: u32,
    retries: &[Duration],
    now: Timestamp,
    expires_at: Option<Timestamp>,
    asked: Option<Duration>,
    luck: f64,
) -> Next {
    let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let usual = match expires_at {
        Some(_) => URGENT.saturating_mul(1 << place.min(8)).min(URGENT_MOST),
        None => match retries.get(place) {
            Some(usual) => *usual,
            None => return Next::Dead,
        },
    };
    // Those that failed together do not come back together.
    let wait = match asked {
        Some(asked) => asked.min(MOST_ASKED).max(URGENT).mul_f64(1.0 + luck * 0.1),
        None => usual.mul_f64(0.9 + luck * 0.3),
    };
    match expires_at {
        Some(expires_at) if now + wait >= expires_at => Next::Expired,
        _ => Next::After(wait),
    }
}

/// `Retry-After`, in seconds or as a date.
pub(super) fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(header).ok()?;
    Some(Timestamp::from_millis(at.timestamp_millis()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn what_can_wait_waits_longer_each_time_and_is_then_given_up() {
        let retries = [S(5), S(30), S(120)];
        let waits: Vec<Next> = (1..=4).map(|n| next(n, &retries, at(0), None, None, 1.0 / 3.0)).collect();
        let secs = |next: &Next| if let Next::After(wait) = next { wait.as_secs_f64().round() as u64 } else { 0 };
        assert_eq!(waits.iter().map(secs).collect::<Vec<_>>(), [5, 30, 120, 0]);
        assert_eq!(waits[3], Next::Dead);
        for luck in [0.0, 0.5, 1.0] {
            let Next::After(wait) = next(1, &retries, at(0), None, None, luck) else { panic!("tried again") };
            assert!(wait >= S(4) && wait <= S(6), "{wait:?}");
        }
    }

    #[test]
    fn what_runs_out_is_tried_often_and_not_after_its_time() {
        let waits = |n, now| next(n, &[], at(now), Some(at(45)), None, 1.0 / 3.0);
        let about =
            |next, secs: u64| matches!(next, Next::After(wait) if wait.abs_diff(S(secs)) < Duration::from_millis(9));
        assert!(about(waits(1, 0), 1) && about(waits(2, 1), 2) && about(waits(3, 3), 4) && about(waits(9, 30), 8));
        assert_eq!(waits(5, 40), Next::Expired);
    }

    #[test]
    fn an_endpoint_may_ask_for_peace_within_bounds() {
        let asked = |secs| next(1, &[S(5)], at(0), None, Some(S(secs)), 0.0);
        assert_eq!(asked(60), Next::After(S(60)));
        assert_eq!(asked(0), Next::After(S(1)));
        assert_eq!(asked(10_000_000), Next::After(MOST_ASKED));
        assert_eq!(next(1, &[], at(0), Some(at(30)), Some(S(60)), 0.0), Next::Expired);
        assert_eq!(next(2, &[S(5)], at(0), None, Some(S(60)), 0.0), Next::Dead, "but not for more attempts");
        assert_eq!(retry_after("120", at(0)), Some(S(120)));
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:01:30 GMT", at(0)), Some(S(90)));
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:00:30 GMT", at(90)), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", at(0)), None);
    }
}
