//! When a user is busy for a new call. Owns the rule only: whoever rings a user knows their other calls, asks here, and
//! if so tells the call by [`super::Command::BusyElsewhere`]. It never decides alone what becomes of the call.

use serde::{Deserialize, Serialize};

use super::ParticipantStatus;

/// What a call to somebody who is in another call becomes. One setting for the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusyPolicy {
    /// The caller is told `busy`, and the callee's devices stay silent.
    Reject,
    /// It rings them all the same; they may answer, decline, or say `busy` themselves.
    CallWaiting,
}

impl BusyPolicy {
    /// The name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::CallWaiting => "call_waiting",
        }
    }

    /// The policy of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Reject, Self::CallWaiting].into_iter().find(|policy| policy.as_str() == text)
    }
}

/// Whether a user is busy for a new call. `other_calls`: where they stand in each other open call, the new one not
/// among them.
///
/// Only a call that they have taken up counts, or one that they started themselves. Being rung does not: two
/// callers at once would each make the callee busy for the other, and nobody would get through.
pub fn is_busy(policy: BusyPolicy, mut other_calls: impl Iterator<Item = ParticipantStatus>) -> bool {
    match policy {
        BusyPolicy::Reject => other_calls.any(ParticipantStatus::is_engaged),
        BusyPolicy::CallWaiting => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParticipantStatus::*;

    const ENGAGED: [ParticipantStatus; 3] = [Connecting, Joined, Reconnecting];
    const NOT_ENGAGED: [ParticipantStatus; 8] = [Invited, Ringing, Lobby, Left, Declined, Busy, Missed, Kicked];

    #[test]
    fn under_reject_whoever_is_engaged_in_another_call_is_busy() {
        for status in ENGAGED {
            assert!(is_busy(BusyPolicy::Reject, [status].into_iter()), "{status:?}");
        }
    }

    #[test]
    fn under_reject_being_rung_or_done_with_a_call_is_not_busy() {
        assert!(!is_busy(BusyPolicy::Reject, NOT_ENGAGED.into_iter()));
        assert!(!is_busy(BusyPolicy::Reject, std::iter::empty()));
    }

    #[test]
    fn one_call_taken_up_among_several_is_enough() {
        assert!(is_busy(BusyPolicy::Reject, [Ringing, Left, Reconnecting].into_iter()));
    }

    #[test]
    fn under_call_waiting_nobody_is_busy() {
        assert!(!is_busy(BusyPolicy::CallWaiting, ENGAGED.into_iter().chain(NOT_ENGAGED)));
    }

    #[test]
    fn a_policy_is_known_by_its_name_in_the_settings() {
        for policy in [BusyPolicy::Reject, BusyPolicy::CallWaiting] {
            assert_eq!(BusyPolicy::parse(policy.as_str()), Some(policy));
            assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{}\"", policy.as_str()));
        }
        assert_eq!(BusyPolicy::parse("Reject"), None);
    }
}
