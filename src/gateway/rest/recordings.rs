//! Recordings over REST: of a call, of a user, one; what may be changed of it, and taking it away. Their files are
//! [`downloads`]'s.
//!
//! Who has been in the call may see its recordings; to all others they are not there. Who began one, or was host or cohost
//! of its call, may change it; a legal hold is an administrator's to set. Every change is on record.

mod downloads;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{
    calls::{carry_out, claims, read, reader},
    cursor,
    history::json,
    params::Params,
};
use crate::{
    clock,
    domain::{
        CallId, Recording, RecordingId, RecordingStatus, Rejection, Timestamp, UserId,
        recording::{FileFormat, Layout, PasswordHash, RETENTION_DAYS, Resolution},
    },
    gateway::{Gateway, address::ClientAddress, auth::Claims, limits::Kind, links::LINK_TTL, protocol::by_event},
    secret::Secret,
    store::{Act, Actor, ActorKind, RecordingPlace, RecordingQuery, Viewer},
    wire::{ErrorCode, Refusal},
};

/// Recordings of a page, unless the request says, and at most.
const USUAL_LIMIT: u64 = 20;
const MAX_LIMIT: u64 = 100;
/// The kind of this list, in its cursors.
const LIST: &str = "r";
/// How long a password may be, in characters. Shorter ones are guessed within the limits of tries; longer is only work.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// How often a change is tried that others got ahead of.
const CONFLICTS: usize = 5;

/// A recording.
#[derive(Serialize, ToSchema)]
#[schema(as = Recording)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    /// The recording.
    recording_id: &'a RecordingId,
    /// The call that was recorded.
    call_id: &'a CallId,
    /// Where it stands.
    status: RecordingStatus,
    /// Who wished for it.
    started_by: &'a UserId,
    /// When.
    created_at: Timestamp,
    /// When it began to record.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// How long it plays.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_secs: Option<u64>,
    /// The size of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// How the picture is put together.
    layout: Layout,
    /// Its size.
    resolution: Resolution,
    /// There is no picture.
    audio_only: bool,
    /// What the file is.
    format: FileFormat,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Days for which the file is kept once it is there.
    retention_days: u32,
    /// When the file is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// While it is set, nothing is deleted.
    legal_hold: bool,
    /// Who may fetch the file.
    access: Access,
    /// The public link has a password.
    has_password: bool,
    /// Where anybody may fetch it; for who may change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    /// Where the asker may fetch it.
    #[serde(skip_serializing_if = "Option::is_none")]
    download: Option<Link>,
}

/// Who may fetch the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Access {
    Participants,
    Public,
}

/// A link that ends.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Link {
    /// The path and query, on any node.
    url: String,
    /// When it ends.
    expires_at: Timestamp,
}

impl<'a> Object<'a> {
    fn of(r: &'a Recording) -> Self {
        Self {
            recording_id: &r.id,
            call_id: &r.call,
            status: r.status,
            started_by: &r.by,
            created_at: r.created_at,
            started_at: r.started_at,
            ended_at: r.ended_at,
            duration_secs: r.duration.map(|duration| duration.as_secs()),
            size_bytes: r.bytes,
            layout: r.options.layout,
            resolution: r.options.resolution,
            audio_only: r.options.audio_only,
            format: r.options.format,
            reason: r.reason.as_deref(),
            retention_days: r.options.retention_days,
            expires_at: r.expires_at,
            legal_hold: r.legal_hold,
            access: if r.public_since.is_some() { Access::Public } else { Access::Participants },
            has_password: r.password.is_some(),
            public_url: None,
            download: None,
        }
    }

    /// With what only this asker gets.
    fn for_asker(gateway: &Gateway, r: &'a Recording, asker: &Asker) -> Self {
        let mut object = Self::of(r);
        let now = clock::now();
        if asker.takes_part && r.is_fetchable(now) {
            let expires_at = now + LINK_TTL;
            let url = downloads::url_of_user(gateway, &r.id, &asker.claims.user, expires_at);
            object.download = Some(Link { url, expires_at });
        }
        if asker.may_change {
            object.public_url = r.public_since.map(|since| downloads::url_of_public(gateway, &r.id, since));
        }
        object
    }
}

fn absent() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "there is no such recording")
}

/// Who asks about one recording.
struct Asker {
    claims: Claims,
    takes_part: bool,
    may_change: bool,
}

/// A recording that the asker may see.
async fn seen(gateway: &Gateway, claims: Claims, id: &str) -> Result<(Recording, Asker), Refusal> {
    let id = RecordingId::new(id).map_err(|_| absent())?;
    let store = &gateway.node.store;
    let takes_part = store.has_recording_part(&id, &claims.user).await?;
    if !takes_part && !claims.admin {
        return Err(absent());
    }
    let viewer = if takes_part { Viewer::from(&claims.user) } else { Viewer::Admin };
    let recording = store.recording_for(&viewer, &id).await?.ok_or_else(absent)?;
    let in_charge = recording.by == claims.user || store.was_in_charge(&recording.call, &claims.user).await?;
    let may_change = claims.admin || (takes_part && in_charge);
    Ok((recording, Asker { claims, takes_part, may_change }))
}

/// One recording.
#[derive(Serialize, ToSchema)]
#[schema(as = OneRecording)]
pub(in crate::gateway) struct One<'a> {
    /// The recording.
    recording: Object<'a>,
}

/// A page of recordings.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordingsPage)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Page<'a> {
    /// Newest first.
    recordings: Vec<Object<'a>>,
    /// The `cursor` of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn get(http: HttpRequest, path: web::Path<String>, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let claims = reader(&http, &gateway).await?;
    let (recording, asker) = seen(&gateway, claims, &path).await?;
    if recording.status == RecordingStatus::Deleted {
        return Err(absent());
    }
    Ok(json(&One { recording: Object::for_asker(&gateway, &recording, &asker) }))
}

async fn list(http: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let user = reader(&http, &gateway).await?.user;
    let params = Params::of(&http)?;
    let query = RecordingQuery {
        user,
        call: params.id("callId", |text| CallId::new(text))?,
        status: params.read("status", "a status of recordings", RecordingStatus::parse)?,
    };
    let limit = params.number("limit", 1, MAX_LIMIT)?.unwrap_or(USUAL_LIMIT) as usize;
    let place = |text: &str| {
        let (at, id) = cursor::read_as(LIST, text)?;
        Some(RecordingPlace { at, recording: RecordingId::new(id).ok()? })
    };
    let after = params.read("cursor", "one that an answer gave for this list", place)?;
    // One more than wanted says whether there are more.
    let mut recordings = gateway.node.store.recordings(&query, after.as_ref(), limit + 1).await?;
    let more = recordings.len() > limit;
    recordings.truncate(limit);
    let last = recordings.last().filter(|_| more);
    let next_cursor = last.map(|last| cursor::write_as(LIST, last.created_at, last.id.as_str()));
    Ok(json(&Page { recordings: recordings.iter().map(Object::of).collect(), next_cursor }))
}

/// What is to be changed. What is not named stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = RecordingChange)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Change {
    /// Days for which the file is kept once it is there, 1 to 3650.
    #[schema(minimum = 1, maximum = 3650)]
    retention_days: Option<u32>,
    /// While it is set, nothing is deleted; for administrators.
    legal_hold: Option<bool>,
    /// Who may fetch the file.
    access: Option<Access>,
    /// Of the public link, 8 to 128 characters; null: none from now on.
    // `Some(None)`: null.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, min_length = 8, max_length = 128)]
    password: Option<Option<String>>,
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

impl Change {
    fn check(&self) -> Result<(), Refusal> {
        if self.retention_days.is_some_and(|days| !RETENTION_DAYS.contains(&days)) {
            return Err(Refusal::invalid("retentionDays must be between 1 and 3650"));
        }
        let fits = |password: &String| PASSWORD_CHARS.contains(&password.chars().count());
        if self.password.iter().flatten().any(|password| !fits(password)) {
            return Err(Refusal::invalid("password must have 8 to 128 characters"));
        }
        Ok(())
    }

    /// What the recording is with it. `hash`: of the password that it names.
    fn apply(&self, before: &Recording, hash: Option<&String>, now: Timestamp) -> Result<Recording, Refusal> {
        if !before.is_changeable() {
            return Err(Rejection::WrongState("its file is gone, or is being deleted").into());
        }
        let mut after = before.clone();
        if let Some(days) = self.retention_days {
            after.retain(days);
        }
        after.legal_hold = self.legal_hold.unwrap_or(after.legal_hold);
        match self.access {
            Some(Access::Public) => {
                after.public_since.get_or_insert(now);
            }
            Some(Access::Participants) => (after.public_since, after.password) = (None, None),
            None => {}
        }
        match &self.password {
            Some(Some(_)) if after.public_since.is_none() => {
                return Err(Refusal::invalid("password is for a public link: set access to public"));
            }
            Some(Some(_)) => after.password = hash.cloned().map(PasswordHash),
            Some(None) => after.password = None,
            None => {}
        }
        Ok(after)
    }
}

fn act(gateway: &Gateway, claims: &Claims, action: &'static str, recording: &Recording) -> Act {
    let actor = Actor { kind: ActorKind::User, id: claims.user.as_str().to_owned(), name: claims.name.clone() };
    let request = uuid::Uuid::now_v7().to_string();
    Act::new(&actor, clock::now(), action, "recording", recording.id.as_str()).asked(&request, gateway.node.id.as_str())
}

async fn writer(http: &HttpRequest, gateway: &Gateway) -> Result<Claims, Refusal> {
    let claims = claims(http, gateway).await?;
    gateway.limits.by_user(Kind::Write, &claims.user, ClientAddress::of(http))?;
    Ok(claims)
}

async fn patch(
    http: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let claims = writer(&http, &gateway).await?;
    let change: Change = serde_json::from_slice(&body)
        .map_err(|error| Refusal::invalid(format!("the body is not as documented: {error}")))?;
    change.check()?;
    let mut hash = None;
    for _ in 0..CONFLICTS {
        let (before, asker) = seen(&gateway, claims.clone(), &path).await?;
        if before.status == RecordingStatus::Deleted {
            return Err(absent());
        }
        if !asker.may_change {
            let who = "only who began it, and who led the call, may change it";
            return Err(Refusal::new(ErrorCode::Forbidden, who));
        }
        if change.legal_hold.is_some() && !claims.admin {
            return Err(Refusal::new(ErrorCode::Forbidden, "a legal hold is an administrator's to set"));
        }
        if let (Some(Some(password)), None) = (&change.password, &hash) {
            hash = Some(gateway.passwords.hash(Secret::new(password)).await?);
        }
        let after = change.apply(&before, hash.as_ref(), clock::now())?;
        let act = act(&gateway, &claims, "recording.change", &before);
        if after == before || gateway.node.store.save_recording(&after, Some(act)).await? {
            return Ok(json(&One { recording: Object::for_asker(&gateway, &after, &asker) }));
        }
    }
    Err(Refusal::unavailable("the recording changes too fast"))
}

async fn delete(
    http: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let claims = writer(&http, &gateway).await?;
    for _ in 0..CONFLICTS {
        let (before, asker) = seen(&gateway, claims.clone(), &path).await?;
        if !asker.may_change {
            let who = "only who began it, and who led the call, may delete it";
            return Err(Refusal::new(ErrorCode::Forbidden, who));
        }
        let refused = match before.status {
            RecordingStatus::Deleted => return Ok(HttpResponse::NoContent().finish()),
            status if !status.is_settled() => Some("it is not finished: stop it first"),
            _ if before.legal_hold => Some("it is on legal hold"),
            _ => None,
        };
        if let Some(why) = refused {
            return Err(Rejection::WrongState(why).into());
        }
        let after = Recording {
            status: RecordingStatus::Deleted,
            deleted_at: Some(clock::now()),
            public_since: None,
            password: None,
            ..before.clone()
        };
        let act = act(&gateway, &claims, "recording.delete", &before);
        if gateway.node.store.save_recording(&after, Some(act)).await? {
            return Ok(HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish());
        }
    }
    Err(Refusal::unavailable("the recording changes too fast"))
}

/// The newest recording of a call.
async fn of_call(
    http: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let claims = reader(&http, &gateway).await?;
    let call = CallId::new(path.as_str()).map_err(|error| Refusal::invalid(error.to_string()))?;
    let viewer = if claims.admin { Viewer::Admin } else { Viewer::from(&claims.user) };
    let newest = gateway.node.store.newest_recording(&viewer, &call).await?.ok_or_else(absent)?;
    let (recording, asker) = seen(&gateway, claims, newest.id.as_str()).await?;
    Ok(json(&One { recording: Object::for_asker(&gateway, &recording, &asker) }))
}

async fn start(
    http: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let sent = read(&http, &gateway, by_event("recording:start")?, Some(&path), &body).await?;
    carry_out(&gateway, sent).await
}

async fn stop(
    http: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let sent = read(&http, &gateway, by_event("recording:stop")?, Some(&path), &body).await?;
    carry_out(&gateway, sent).await
}

/// `/recordings` and `/calls/{callId}/recording`, below `/api/v1`; before the resource of one call's actions.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/calls/{callId}/recording")
                .route(web::post().to(start))
                .route(web::delete().to(stop))
                .route(web::get().to(of_call)),
        )
        .service(web::resource("/recordings").route(web::get().to(list)))
        .service(
            web::resource("/recordings/{recordingId}")
                .route(web::get().to(get))
                .route(web::patch().to(patch))
                .route(web::delete().to(delete)),
        )
        .service(
            web::resource("/recordings/{recordingId}/download")
                .route(web::get().to(downloads::download))
                .route(web::head().to(downloads::download)),
        );
}
