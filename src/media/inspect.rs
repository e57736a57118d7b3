//! For `carillon doctor`: single questions to LiveKit and to the store of recordings, with as much of the answer as helps
//! whoever set them up. None is repeated, and none leaves anything behind.

use std::time::Duration;

use livekit_api::access_token::{AccessToken, VideoGrants};
use object_store::{ObjectStoreExt, PutPayload};
use reqwest::header::{CONTENT_TYPE, DATE};

use super::{Files, LiveKitConfig, probe::http_address};

/// How long the token of a question is good.
const TOKEN_TTL: Duration = Duration::from_secs(60);
/// The most of an answer that is kept.
const MOST_WORDS: usize = 300;

/// What LiveKit is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// To list rooms, of a name that none has: whether it takes our key.
    Rooms,
    /// To list egresses: whether it has a way to recorders.
    Egresses,
    /// Whether a token for a room that is not there would open it, as browsers ask at the public address.
    Entry,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub status: u16,
    /// The header `Date`.
    pub date: Option<String>,
    /// The beginning of the answer.
    pub words: String,
}

/// Asks LiveKit, at the address for nodes or for browsers.
///
/// # Errors
/// Words for people: no answer, or no client.
pub async fn ask_livekit(config: &LiveKitConfig, question: Question, patience: Duration) -> Result<Said, String> {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(patience).build();
    // The address holds no secret, but a long one is no help.
    let failed = |error: reqwest::Error| format!("{:#}", anyhow::Error::new(error.without_url()));
    let http = http.map_err(failed)?;
    let grants = match question {
        Question::Rooms => VideoGrants { room_list: true, ..VideoGrants::default() },
        Question::Egresses => VideoGrants { room_record: true, ..VideoGrants::default() },
        Question::Entry => {
            let room = format!("carillon doctor {}", uuid::Uuid::new_v4());
            VideoGrants { room_join: true, room, ..VideoGrants::default() }
        }
    };
    let token = AccessToken::with_api_key(&config.api_key, config.api_secret.reveal())
        .with_identity("carillon-doctor")
        .with_ttl(TOKEN_TTL)
        .with_grants(grants)
        .to_jwt()
        .map_err(|error| error.to_string())?;
    let twirp = |service: &str, body: &'static str| {
        let address = format!("{}/twirp/livekit.{service}", http_address(&config.url));
        http.post(address).header(CONTENT_TYPE, "application/json").body(body)
    };
    let request = match question {
        Question::Rooms => twirp("RoomService/ListRooms", r#"{"names":[" "]}"#),
        Question::Egresses => twirp("Egress/ListEgress", r#"{"room_name":" ","active":true}"#),
        Question::Entry => http.get(format!("{}/rtc/validate", http_address(&config.public_url))),
    };
    let answer = request.bearer_auth(token).send().await.map_err(failed)?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    let status = answer.status().as_u16();
    let words = answer.text().await.map_err(failed)?.trim().chars().take(MOST_WORDS).collect();
    Ok(Said { status, date, words })
}

/// A step of trying out a store that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// `written`, `read` or `deleted`.
    pub step: &'static str,
    pub kind: FailedKind,
    /// The store's code, such as `NoSuchBucket`, if it gave one.
    pub code: Option<String>,
}

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedKind {
    /// The keys are not the store's, or may not.
    Forbidden,
    /// There is no such bucket or directory.
    Absent,
    /// It does not answer, or not in time.
    Unreachable,
    /// Read back, it was something else.
    Different,
}

impl Files {
    /// Writes a small file, reads it and deletes it, as one that egress and a node would have.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn try_out(&self, patience: Duration) -> Result<(), FailedStep> {
        const BYTES: &[u8] = b"carillon doctor";
        let path = self.path(&format!("carillon-doctor-{}", uuid::Uuid::new_v4()));
        let write = async { self.store.put(&path, PutPayload::from_static(BYTES)).await.map(drop) };
        step("written", patience, write).await?;
        let read = async { self.store.get(&path).await?.bytes().await };
        let back = step("read", patience, read).await;
        let deleted = step("deleted", patience, self.store.delete(&path)).await;
        if back? != BYTES {
            return Err(FailedStep { step: "read", kind: FailedKind::Different, code: None });
        }
        deleted
    }
}

async fn step<T>(
    step: &'static str,
    patience: Duration,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, FailedStep> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done.map_err(|error| failed_step(step, &error)),
        Err(_) => Err(FailedStep { step, kind: FailedKind::Unreachable, code: None }),
    }
}

fn failed_step(step: &'static str, error: &object_store::Error) -> FailedStep {
    use object_store::Error;
    let words = error.to_string();
    // S3's errors are XML.
    let code = words.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let kind = match (error, code) {
        (_, Some("NoSuchBucket")) | (Error::NotFound { .. }, _) => FailedKind::Absent,
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) => FailedKind::Forbidden,
        (_, Some("SignatureDoesNotMatch" | "InvalidAccessKeyId" | "AccessDenied")) => FailedKind::Forbidden,
        _ => FailedKind::Unreachable,
    };
    let code = code.map(|code| code.chars().take(60).collect());
    FailedStep { step, kind, code }
}
