//! Commands that their user gave a key: carried out once, and answered as they were the first time.
//!
//! Owns what a key means: the command's id is made of user and key, so that wherever and however often it arrives, the
//! store takes its effect in once. With it, or by itself where there was none, the first answer is recorded with a
//! fingerprint of the command; a repetition is answered from that, and another command under the same key is a conflict.
//! What says nothing of the command (the database is away, there is too much to do) is not recorded: the next try may
//! find it otherwise. Survives the death of any node at any moment: until something is recorded nobody was answered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{Answer, Ask, Caller, Node, router::BoxedOutcome};
use crate::{
    domain::{CallId, Command, UserId},
    store::CommandRecord,
    wire::{ErrorCode, Frame, Refusal},
};

/// The key was used for something else.
pub(super) fn conflict() -> Refusal {
    Refusal::new(ErrorCode::Conflict, "this idempotency key was used for another command")
}

/// What is answered.
pub(super) type Outcome = Result<Answer, Refusal>;

/// A user's key for one command, with what tells this command from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandKey {
    /// The command's id: made of user and key alone.
    pub command: Uuid,
    /// Made of the command's name and data.
    print: Fingerprint,
}

/// 128 bits of a digest: two commands of one user that differ and look alike by chance harm nobody but that user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Fingerprint(Uuid);

impl CommandKey {
    /// The key `key` of `user` for the command `event` with `data`.
    pub fn new(user: &UserId, key: &str, event: &str, data: &Value) -> Self {
        let mut named = Sha256::new();
        // The length keeps "a" + "bc" apart from "ab" + "c", whatever the ids hold.
        named.update(b"carillon command");
        named.update((user.as_str().len() as u64).to_be_bytes());
        named.update(user.as_str());
        named.update(key);
        let mut print = Sha256::new();
        print.update(event);
        absorb(&mut print, data);
        Self { command: id_of(named), print: Fingerprint(Builder::from_bytes(first_half(print)).into_uuid()) }
    }

    /// The id of a call that is begun under this key without one of its own: who repeats the command asks for the same.
    pub fn call(&self) -> Option<CallId> {
        let mut digest = Sha256::new();
        digest.update(b"carillon call");
        digest.update(self.command.as_bytes());
        CallId::new(id_of(digest).to_string()).ok()
    }

    /// What is to be recorded of this answer.
    pub(super) fn record(&self, outcome: &Outcome) -> Option<String> {
        let mut kept = Kept { print: self.print, call: None, lobby: false, refusal: None };
        match outcome {
            Ok(Answer::Call(call)) => kept.call = Some(call.clone()),
            Ok(Answer::Lobby) => kept.lobby = true,
            Ok(_) => {}
            Err(refusal) => kept.refusal = Some(refusal.clone()),
        }
        serde_json::to_string(&kept).ok()
    }

    /// The first answer, as recorded; a conflict if it was to another command.
    pub(super) fn recall(&self, record: &CommandRecord) -> Outcome {
        let kept = record.outcome.as_deref().and_then(|text| serde_json::from_str::<Kept>(text).ok());
        match kept {
            Some(kept) if kept.print != self.print => Err(conflict()),
            Some(Kept { refusal: Some(refusal), .. }) => Err(refusal),
            Some(Kept { call: Some(call), .. }) => Ok(Answer::Call(call)),
            Some(Kept { lobby: true, .. }) => Ok(Answer::Lobby),
            Some(_) => Ok(Answer::Done),
            None => Err(Refusal::new(ErrorCode::Internal, "the first answer cannot be read")),
        }
    }
}

/// The first answer to a command, as recorded. A field may be added; none may be renamed.
#[derive(Serialize, Deserialize)]
struct Kept {
    print: Fingerprint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<Frame>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lobby: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<Refusal>,
}

fn first_half(digest: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest.finalize()[..16]);
    half
}

/// A UUIDv8, by which the store knows it for one made of a key.
fn id_of(digest: Sha256) -> Uuid {
    let mut bytes = first_half(digest);
    // Above every id that is in the order of time (their first bit is set in the year 6429): old ones are a range.
    bytes[0] |= 0x80;
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Digests a JSON value whatever the order of its fields and the space between them.
fn absorb(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Array(values) => {
            digest.update(b"[");
            for value in values {
                absorb(digest, value);
                digest.update(b",");
            }
            digest.update(b"]");
        }
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            digest.update(b"{");
            for name in names {
                absorb_text(digest, name);
                absorb(digest, &fields[name]);
            }
            digest.update(b"}");
        }
        Value::String(text) => absorb_text(digest, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            digest.update(value.to_string());
            digest.update(b",");
        }
    }
}

fn absorb_text(digest: &mut Sha256, text: &str) {
    digest.update(b"\"");
    digest.update((text.len() as u64).to_be_bytes());
    digest.update(text);
}

/// Whether this command is answered with the call, and not with a mere `{}`.
pub(super) fn answers_with_call(kind: &str) -> bool {
    matches!(
        kind,
        "start" | "accept" | "join" | "invite" | "transfer" | "start_recording" | "stop_recording" | "escalate"
    )
}

/// Whether a refusal is an answer to the command, and not a word on how things stand with the system.
fn lasts(refusal: &Refusal) -> bool {
    match refusal.code {
        ErrorCode::Forbidden
        | ErrorCode::NotFound
        | ErrorCode::Conflict
        | ErrorCode::WrongState
        | ErrorCode::Busy
        | ErrorCode::AcceptedElsewhere
        | ErrorCode::AlreadyEnded
        | ErrorCode::CallFull
        | ErrorCode::CallLocked
        | ErrorCode::NotParticipant => !refusal.retryable,
        ErrorCode::Unauthenticated
        | ErrorCode::TokenExpired
        | ErrorCode::Invalid
        | ErrorCode::TooLarge
        | ErrorCode::RateLimited
        | ErrorCode::MediaUnavailable
        | ErrorCode::Unavailable
        | ErrorCode::Internal => false,
    }
}

impl Ask {
    /// The command without its key, and the key.
    pub(super) fn without_key(self) -> (Self, Option<CommandKey>) {
        match self {
            Self::Keyed { key, ask } => (*ask, Some(key)),
            ask => (ask, None),
        }
    }
}

impl Node {
    /// As [`Node::ask_for`], for a command that its user may have given a key. What is sent now keeps its order too.
    pub fn ask_once(
        self: &Arc<Self>,
        call: &CallId,
        caller: Caller,
        ask: Ask,
        key: Option<CommandKey>,
    ) -> BoxedOutcome {
        let Some(key) = key else { return self.ask_for(call, caller, ask) };
        let (node, call, user, kind) = (self.clone(), call.clone(), caller.user.clone(), kind_of(&ask));
        let asked = self.ask_for(&call, caller, keyed(ask, Some(key)));
        Box::pin(async move {
            let outcome = asked.await;
            node.settle_keyed(&key, &call, &user, kind, outcome).await
        })
    }

    /// The first answer to this command, if one is on record.
    pub(super) async fn recall(self: &Arc<Self>, key: &CommandKey) -> Result<Option<Outcome>, Refusal> {
        let record = self.store.command_outcome(key.command).await?;
        Ok(record.map(|record| key.recall(&record)))
    }

    /// The answer to a command with a key, once it has been carried out: recorded with its effect, or now.
    pub(super) async fn settle_keyed(
        self: &Arc<Self>,
        key: &CommandKey,
        call: &CallId,
        user: &UserId,
        kind: &str,
        outcome: Outcome,
    ) -> Outcome {
        let outcome = match outcome {
            Ok(Answer::OnRecord(first)) => return *first,
            Ok(Answer::SeeRecord) => {
                let recalled = self.recall(key).await?;
                return recalled.unwrap_or_else(|| Err(Refusal::unavailable("the first answer is not there yet")));
            }
            Err(refusal) if !lasts(&refusal) => return Err(refusal),
            Ok(Answer::Call(_)) if !answers_with_call(kind) => Ok(Answer::Done),
            outcome => outcome,
        };
        let record = CommandRecord {
            call: call.clone(),
            seq: 0,
            kind: kind.to_owned(),
            by: Some(user.clone()),
            outcome: key.record(&outcome),
        };
        match self.store.keep_outcome(key.command, record).await? {
            // Somebody was answered before, on whichever node.
            Some(first) => key.recall(&first),
            None => outcome,
        }
    }

    /// Records that the user has used the key for a command that changes nothing, which is answered anew each time.
    pub async fn note_key(self: &Arc<Self>, key: &CommandKey, call: &CallId, user: &UserId) -> Result<(), Refusal> {
        self.settle_keyed(key, call, user, "token", Ok(Answer::Done)).await.map(drop)
    }
}

/// A question with the key of its command, if it has one.
pub(super) fn keyed(ask: Ask, key: Option<CommandKey>) -> Ask {
    match key {
        Some(key) => Ask::Keyed { key, ask: Box::new(ask) },
        None => ask,
    }
}

/// The name a question's command is recorded under.
fn kind_of(ask: &Ask) -> &'static str {
    match ask {
        Ask::Do(command) => Command::name(command),
        Ask::Clash => "start",
        _ => "look",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::is_keyed;

    fn key(user: &str, key: &str, data: &str) -> CommandKey {
        let user = UserId::new(user).unwrap();
        CommandKey::new(&user, key, "call:end", &serde_json::from_str(data).unwrap())
    }

    #[test]
    fn a_key_names_one_command_of_one_user() {
        let named = key("alice", "k", "{}").command;
        assert_eq!(named, key("alice", "k", r#"{"a":1}"#).command);
        for other in [key("bob", "k", "{}"), key("alice", "l", "{}"), key("alicek", "", "{}")] {
            assert_ne!(named, other.command);
        }
    }

    #[test]
    fn the_order_of_fields_and_white_space_make_no_other_command() {
        let one = key("alice", "k", r#"{"a":{"x":1,"y":[true,null]},"b":"c"}"#);
        assert_eq!(one, key("alice", "k", r#"{ "b": "c", "a": {"y": [true, null], "x": 1} }"#));
        for other in [r#"{"a":{"x":1,"y":[true]},"b":"c"}"#, r#"{"a":{"x":"1","y":[true,null]},"b":"c"}"#, "{}"] {
            assert_ne!(one, key("alice", "k", other), "{other}");
        }
        let user = UserId::new("alice").unwrap();
        assert_ne!(
            CommandKey::new(&user, "k", "call:end", &Value::Null),
            CommandKey::new(&user, "k", "call:leave", &Value::Null)
        );
    }

    #[test]
    fn ids_made_of_keys_are_out_of_reach_of_those_in_the_order_of_time() {
        for n in 0..200 {
            let key = key("alice", &n.to_string(), "{}");
            assert!(is_keyed(key.command) && key.command > Uuid::from_u128(0x7fff << 112));
            assert_ne!(key.call().unwrap().as_str(), key.command.to_string(), "an id of its own");
        }
        assert!(!is_keyed(Uuid::now_v7()));
    }

    #[test]
    fn a_recorded_answer_is_given_again_and_only_to_the_same_command() {
        let mine = key("alice", "k", "{}");
        let call = Frame::from(r#"{"callId":"c","seq":7}"#.to_owned());
        let refusal = Refusal::new(ErrorCode::WrongState, "no");
        for outcome in [Ok(Answer::Call(call)), Ok(Answer::Done), Err(refusal)] {
            let outcome_text = mine.record(&outcome);
            let record = CommandRecord {
                call: CallId::new("c").unwrap(),
                seq: 1,
                kind: "end".into(),
                by: None,
                outcome: outcome_text,
            };
            let said = |outcome: &Outcome| match outcome {
                Ok(Answer::Call(call)) => call.text().to_owned(),
                Ok(_) => "{}".to_owned(),
                Err(refusal) => refusal.message.to_string(),
            };
            assert_eq!(said(&mine.recall(&record)), said(&outcome));
            let other = key("alice", "k", r#"{"reason":"x"}"#).recall(&record).unwrap_err();
            assert_eq!(other.code, ErrorCode::Conflict);
        }
    }
}
