//! The file of a recording, whole or in part, for whoever has been in the call, has a signed link, or the public one.
//!
//! Owns who may, and how the answer looks (RFC 9110, 13 and 14). Never holds more of a file in memory than the piece that
//! is on its way: it is read as fast as the client takes it. A client that has gone frees its place with its connection.

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{Method, StatusCode, header},
    web,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;

use super::{absent, seen};
use crate::{
    clock,
    domain::{Recording, RecordingId, RecordingStatus, Timestamp, UserId},
    gateway::{
        Gateway,
        address::ClientAddress,
        auth::Url,
        limits::Kind,
        links::LINK_TTL,
        rest::{
            calls::reader,
            params::Params,
            problem, problem_as,
            ranges::{Wanted, http_date, is_current, is_known, wanted},
        },
    },
    media::files::{FileMeta, FilesAway},
    secret::Secret,
    wire::{ErrorCode, Refusal},
};

fn url(recording: &RecordingId, query: &[(&str, &str)]) -> String {
    let path = format!("/api/v1/recordings/{recording}/download");
    let Ok(mut url) = Url::parse(&format!("http://localhost{path}")) else { return path };
    url.query_pairs_mut().extend_pairs(query);
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// Where a user may fetch it for a while.
pub(super) fn url_of_user(gateway: &Gateway, id: &RecordingId, user: &UserId, until: Timestamp) -> String {
    let signature = gateway.links.of_user(id, user, until);
    let expires = until.as_millis().to_string();
    url(id, &[("user", user.as_str()), ("expires", &expires), ("signature", &signature)])
}

/// Where anybody may.
pub(super) fn url_of_public(gateway: &Gateway, id: &RecordingId, since: Timestamp) -> String {
    url(id, &[("link", &gateway.links.of_public(id, since))])
}

/// Why a recording is not given.
enum No {
    Refused(Refusal),
    /// The public link has a password, and it was not given, or was wrong.
    PasswordWanted,
}

impl<E: Into<Refusal>> From<E> for No {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// The recording, if the request may have it: by its link, or by a user's token.
async fn admitted(http: &HttpRequest, gateway: &Gateway, id: &str) -> Result<Recording, No> {
    let params = Params::of(http)?;
    let link = params.read("link", "a public link", |text| Some(text.to_owned()))?;
    let signature = params.read("signature", "that of a link", |text| Some(text.to_owned()))?;
    if link.is_none() && signature.is_none() {
        let claims = reader(http, gateway).await?;
        let (recording, asker) = seen(gateway, claims, id).await?;
        // Administrators see what there is, and not what was said.
        return if asker.takes_part { Ok(recording) } else { Err(absent().into()) };
    }
    gateway.limits.by_address(Kind::Read, ClientAddress::of(http))?;
    let id = RecordingId::new(id).map_err(|_| absent())?;
    if let Some(signature) = signature {
        return signed(gateway, &id, &params, &signature).await;
    }
    let recording = gateway.node.store.recording(&id).await?.ok_or_else(absent)?.recording;
    let fits = |since: Timestamp| gateway.links.fits_public(&id, since, link.as_deref().unwrap_or_default());
    if !recording.public_since.is_some_and(fits) {
        return Err(absent().into());
    }
    if let Some(hash) = &recording.password {
        check_password(http, gateway, &id, &hash.0).await?;
    }
    Ok(recording)
}

async fn signed(gateway: &Gateway, id: &RecordingId, params: &Params, signature: &str) -> Result<Recording, No> {
    // A link that is none is one to nothing.
    let user = params.id("user", |text| UserId::new(text)).ok().flatten().ok_or_else(absent)?;
    let until =
        params.number("expires", 0, i64::MAX as u64).ok().flatten().and_then(|millis| i64::try_from(millis).ok());
    let until = Timestamp::from_millis(until.ok_or_else(absent)?);
    let now = clock::now();
    if !gateway.links.fits_user(id, &user, until, now, signature) {
        // Only who has a good link learns that it was one.
        let was_good = gateway.links.fits_user(id, &user, until, until - LINK_TTL, signature);
        let over = || Refusal::new(ErrorCode::Forbidden, "the link is over: ask for the recording anew");
        return Err(if was_good { over() } else { absent() }.into());
    }
    if !gateway.node.store.has_recording_part(id, &user).await? {
        return Err(absent().into());
    }
    Ok(gateway.node.store.recording(id).await?.ok_or_else(absent)?.recording)
}

/// The password stands where browsers put one that they ask for; the user's name beside it does not matter.
async fn check_password(http: &HttpRequest, gateway: &Gateway, id: &RecordingId, hash: &str) -> Result<(), No> {
    let address = ClientAddress::of(http);
    gateway.limits.may_try_password(id.as_str(), address)?;
    let given = http.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(password);
    let Some(given) = given else { return Err(No::PasswordWanted) };
    if gateway.passwords.fits(given, hash.to_owned()).await? {
        return Ok(());
    }
    gateway.limits.on_wrong_password(id.as_str(), address);
    Err(No::PasswordWanted)
}

/// RFC 7617.
fn password(header: &str) -> Option<Secret> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| Secret::new(password))
}

/// `GET` and `HEAD`.
pub(super) async fn download(
    http: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    match admitted(&http, &gateway, &path).await {
        Ok(recording) => send(&http, &gateway, &recording).await,
        Err(No::Refused(refusal)) => Err(refusal),
        Err(No::PasswordWanted) => {
            let mut response = problem(&Refusal::new(ErrorCode::Unauthenticated, "this link has a password"));
            let ask = header::HeaderValue::from_static("Basic realm=\"recording\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
            Ok(response)
        }
    }
}

async fn send(http: &HttpRequest, gateway: &Gateway, recording: &Recording) -> Result<HttpResponse, Refusal> {
    if recording.status == RecordingStatus::Deleted {
        return Err(absent());
    }
    if !recording.is_fetchable(clock::now()) {
        let why = match recording.status {
            RecordingStatus::Ready | RecordingStatus::Expired => "its time is over",
            RecordingStatus::Failed => "the recording failed",
            _ => "the recording is not finished",
        };
        return Err(Refusal::new(ErrorCode::WrongState, why));
    }
    let away = || Refusal::unavailable("the store of recordings is not available");
    let (Some(files), Some(file)) = (gateway.node.media.files(), &recording.file) else { return Err(away()) };
    if let Some(elsewhere) = files.redirect(file, LINK_TTL).await {
        return Ok(HttpResponse::TemporaryRedirect()
            .insert_header((header::LOCATION, elsewhere))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .finish());
    }
    let Some(meta) = files.look(file).await.map_err(|_| away())? else {
        tracing::error!(recording.id = %recording.id, "the file of a recording is not there");
        return Err(Refusal::new(ErrorCode::NotFound, "its file is not there"));
    };
    let answer = Answer::to(http, recording, &meta);
    let Some(range) = answer.body.clone().filter(|_| http.method() != Method::HEAD) else {
        let length = answer.body.as_ref().map_or(0, |range| range.end - range.start);
        return Ok(answer.into_response(SizedStream::new(length, futures_util::stream::empty())));
    };
    let place = gateway.downloads.clone().try_acquire_owned();
    let place = place.map_err(|_| Refusal::unavailable("too many downloads at once"))?;
    let length = range.end - range.start;
    let empty = length == 0;
    let pieces = if empty {
        Some(futures_util::stream::empty().boxed())
    } else {
        files.read(file, range).await.map_err(|_| away())?
    };
    let pieces = pieces.ok_or_else(|| Refusal::new(ErrorCode::NotFound, "its file is not there"))?;
    // The place is taken for as long as the stream is there.
    let pieces = pieces.inspect(move |_| {
        let _ = &place;
    });
    Ok(answer.into_response(SizedStream::new(length, pieces)))
}

/// What is answered, but for the file itself.
struct Answer {
    status: StatusCode,
    /// Of the file; `None`: nothing.
    body: Option<std::ops::Range<u64>>,
    headers: Vec<(header::HeaderName, String)>,
}

impl Answer {
    fn to(http: &HttpRequest, recording: &Recording, meta: &FileMeta) -> Self {
        let sent = |name: header::HeaderName| http.headers().get(name).and_then(|value| value.to_str().ok());
        let tag = format!("\"{}-{:x}-{:x}\"", recording.id, meta.bytes, meta.modified.as_millis());
        let mut headers = vec![
            (header::ETAG, tag.clone()),
            (header::LAST_MODIFIED, http_date(meta.modified)),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            // For the asker alone, and not without asking: it may be deleted at any time.
            (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        ];
        if is_known(sent(header::IF_NONE_MATCH), &tag) {
            return Self { status: StatusCode::NOT_MODIFIED, body: None, headers };
        }
        let current = is_current(sent(header::IF_RANGE), &tag, meta.modified);
        let range = sent(header::RANGE).filter(|_| current);
        let (status, body) = match wanted(range, meta.bytes) {
            Wanted::Whole => (StatusCode::OK, Some(0..meta.bytes)),
            Wanted::Part(part) => {
                let content = format!("bytes {}-{}/{}", part.start, part.end - 1, meta.bytes);
                headers.push((header::CONTENT_RANGE, content));
                (StatusCode::PARTIAL_CONTENT, Some(part))
            }
            Wanted::Outside => {
                headers.push((header::CONTENT_RANGE, format!("bytes */{}", meta.bytes)));
                return Self { status: StatusCode::RANGE_NOT_SATISFIABLE, body: None, headers };
            }
        };
        let options = &recording.options;
        let kind = match (options.format.as_str(), options.audio_only) {
            ("ogg", _) => "audio/ogg",
            (_, true) => "audio/mp4",
            _ => "video/mp4",
        };
        headers.push((header::CONTENT_TYPE, kind.to_owned()));
        let name = format!("attachment; filename=\"recording-{}.{}\"", recording.id, options.format.as_str());
        headers.push((header::CONTENT_DISPOSITION, name));
        Self { status, body, headers }
    }

    fn into_response<S>(self, body: SizedStream<S>) -> HttpResponse
    where
        S: futures_util::Stream<Item = Result<web::Bytes, FilesAway>> + 'static,
    {
        let mut response = match self.status {
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let why = Refusal::invalid("the file has no such part");
                problem_as(StatusCode::RANGE_NOT_SATISFIABLE, &why)
            }
            status if self.body.is_some() => HttpResponse::build(status).body(body),
            status => HttpResponse::build(status).finish(),
        };
        for (name, value) in self.headers {
            if let Ok(value) = header::HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
