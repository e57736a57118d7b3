//! The words of the sweepers' reports: the same in the log, in the tables, and where people read them.
//!
//! Owns each vocabulary, and the lines in which `carillon sweep` says what the log says. A word that changes here
//! changes everywhere but in what is on record already.

use std::fmt::{Display, Write};

use crate::store::{StoredRun, SweepAction};

/// What is done about the prey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    EndRing,
    EndConnecting,
    EndCall,
    LoseConnection,
    Leave,
    CloseRoom,
    TakeOver,
    /// A recording's egress is asked for.
    Begin,
    /// What came of an attempt to begin is found out.
    Settle,
    /// An egress is told to stop.
    Stop,
    /// A recording becomes `failed`.
    Fail,
    /// A recording becomes `ready`.
    Ready,
    /// What LiveKit says of an egress is noted.
    Note,
    /// A call is told how far its recording has come.
    Tell,
    DeleteFile,
}

impl Deed {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndRing => "end_ring",
            Self::EndConnecting => "end_connecting",
            Self::EndCall => "end_call",
            Self::LoseConnection => "lose_connection",
            Self::Leave => "leave",
            Self::CloseRoom => "close_room",
            Self::TakeOver => "take_over",
            Self::Begin => "begin",
            Self::Settle => "settle",
            Self::Stop => "stop",
            Self::Fail => "fail",
            Self::Ready => "ready",
            Self::Note => "note",
            Self::Tell => "tell",
            Self::DeleteFile => "delete_file",
        }
    }
}

/// What became of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::actors) enum ActionOutcome {
    Done,
    /// The owner found that it is not what it was taken for, or it was mended meanwhile.
    LeftAlone,
    /// Who decides could not be asked: nothing is known.
    CouldNotAsk,
    Failed,
    /// It is what would have been done.
    DryRun,
}

impl ActionOutcome {
    /// All there are, in the order of their values.
    pub const ALL: [Self; 5] = [Self::Done, Self::LeftAlone, Self::CouldNotAsk, Self::Failed, Self::DryRun];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::LeftAlone => "left_alone",
            Self::CouldNotAsk => "could_not_ask",
            Self::Failed => "failed",
            Self::DryRun => "dry_run",
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    Done,
    /// A probe failed, or who decides could not be asked.
    CouldNotAsk,
    Failed,
}

impl RunOutcome {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Done, Self::CouldNotAsk, Self::Failed];

    /// The word in logs and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::CouldNotAsk => "could_not_ask",
            Self::Failed => "failed",
        }
    }
}

/// Why a run was made, as logs say it; in the table it is `by_hand`.
pub const fn by(by_hand: bool) -> &'static str {
    if by_hand { "hand" } else { "schedule" }
}

/// A line of fields, as the log has them: `name=value`, quoted where the value could be misread.
struct Line(String);

impl Line {
    fn field(mut self, name: &str, value: impl Display) -> Self {
        let value = value.to_string();
        let plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=');
        let gap = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = if plain { write!(self.0, "{gap}{name}={value}") } else { write!(self.0, "{gap}{name}={value:?}") };
        self
    }

    fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }
}

/// An action, in the words of its log line `swept`; what is the same for the whole run is left out.
pub fn action_line(action: &SweepAction) -> String {
    let line = Line(String::new()).field("call.id", &action.call).maybe("user.id", action.user.as_deref());
    let line = line.maybe("recording.id", action.recording.as_deref());
    let line = line.field("what", &action.what).field("why", &action.why);
    line.maybe("age_secs", action.age.map(|age| age.as_secs())).field("outcome", &action.outcome).0
}

/// A run that has ended, in the words of its log line `sweep finished`.
pub fn run_line(StoredRun { run, started_at, finished_at }: &StoredRun) -> String {
    let line = Line(String::new()).field("sweep", &run.sweeper).field("node.id", &run.node).field("run.id", run.id);
    let line = line.field("by", by(run.by_hand)).field("dry_run", run.dry_run);
    let line = line.maybe("outcome", run.outcome.as_deref()).field("found", run.found).field("acted", run.acted);
    let line = line.field("failed", run.failed).maybe("note", run.note.as_deref());
    line.maybe("took_ms", finished_at.map(|at| at.since(*started_at).as_millis())).0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_an_action_does_not_have_is_left_out_and_what_could_be_misread_is_quoted() {
        let mut action = SweepAction {
            n: 1,
            call: "c1".into(),
            user: None,
            what: Deed::Leave.as_str().into(),
            why: "the grace has passed".into(),
            age: None,
            outcome: ActionOutcome::Done.as_str().into(),
            recording: None,
        };
        assert_eq!(action_line(&action), r#"call.id=c1 what=leave why="the grace has passed" outcome=done"#);
        (action.user, action.age) = (Some("a \"b\"=c".into()), Some(Duration::from_millis(2900)));
        let line = r#"call.id=c1 user.id="a \"b\"=c" what=leave why="the grace has passed" age_secs=2 outcome=done"#;
        assert_eq!(action_line(&action), line);
    }
}
