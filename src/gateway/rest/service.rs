//! What all routes of the service API share: who asks, the pages of a list, and the form of an answer.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::privileged::{Read, on_record};
use crate::{
    clock,
    gateway::{Gateway, address::ClientAddress, auth::bearer, limits::Kind, session::auth_refusal},
    store::{Act, Actor, ActorKind},
    wire::{ErrorCode, Refusal},
};

/// Names the request in the audit log, and comes back in the answer; made here where the client sends none.
const REQUEST_ID: &str = "x-request-id";
/// The longest id of a request, in characters. Shorter would cut those of common proxies; longer ones fill the log.
const MAX_REQUEST_ID_CHARS: usize = 128;
/// Entries of a page, where the client does not say, and at most. More hold a connection to the database for long.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

/// An accepted request to the service API.
pub struct Service {
    pub actor: Actor,
    request_id: String,
    node: String,
}

impl Service {
    /// Who shows a service key.
    pub async fn of(request: &HttpRequest, gateway: &Gateway) -> Result<Self, Refusal> {
        let unknown = || Refusal::new(ErrorCode::Unauthenticated, "a service key is needed");
        let key = credentials(request).ok_or_else(unknown)?;
        let address = ClientAddress::of(request);
        let actor = by_key(gateway, key, address).await?.ok_or_else(unknown)?;
        Ok(Self::new(request, gateway, actor))
    }

    /// Who shows a service key, or a token with the role `admin`.
    pub async fn or_admin(request: &HttpRequest, gateway: &Gateway) -> Result<Self, Refusal> {
        let unknown = || Refusal::new(ErrorCode::Unauthenticated, "a service key or an admin's token is needed");
        let shown = credentials(request).ok_or_else(unknown)?;
        let address = ClientAddress::of(request);
        if let Some(actor) = by_key(gateway, shown, address).await? {
            return Ok(Self::new(request, gateway, actor));
        }
        let claims = gateway.verifier.verify(shown, clock::now()).await.map_err(auth_refusal)?;
        gateway.limits.by_user(Kind::Service, &claims.user, address)?;
        if !claims.admin {
            return Err(Refusal::new(ErrorCode::Forbidden, "this is for admins"));
        }
        let actor = Actor { kind: ActorKind::User, id: claims.user.as_str().to_owned(), name: claims.name };
        Ok(Self::new(request, gateway, actor))
    }

    fn new(request: &HttpRequest, gateway: &Gateway, actor: Actor) -> Self {
        Self { actor, request_id: request_id(request), node: gateway.node.id.as_str().to_owned() }
    }

    /// Puts it on record that the asker reads what is other people's.
    pub async fn reads(&self, gateway: &Gateway, read: Read, target: &str) -> Result<(), Refusal> {
        on_record(gateway, &self.actor, &self.request_id, read, target).await
    }

    /// A privileged act of the asker.
    pub fn act(&self, action: &'static str, target_kind: &'static str, target: impl Into<String>) -> Act {
        Act::new(&self.actor, clock::now(), action, target_kind, target).asked(&self.request_id, &self.node)
    }

    /// An answer with a body.
    pub fn json(&self, status: StatusCode, body: &impl Serialize) -> HttpResponse {
        HttpResponse::build(status)
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((REQUEST_ID, self.request_id.as_str()))
            .json(body)
    }

    /// An answer without.
    pub fn no_content(&self) -> HttpResponse {
        HttpResponse::NoContent().insert_header((REQUEST_ID, self.request_id.as_str())).finish()
    }
}

/// The id that the client gave the request, or a new one.
pub fn request_id(request: &HttpRequest) -> String {
    let sent = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fits =
        |id: &&str| (1..=MAX_REQUEST_ID_CHARS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    sent.filter(fits).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn credentials(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer)
}

/// Whose service key the request shows, if it shows one. What it shows else may be a user's token.
pub(super) async fn shown_key(request: &HttpRequest, gateway: &Gateway) -> Result<Option<Actor>, Refusal> {
    match credentials(request) {
        Some(key) => by_key(gateway, key, ClientAddress::of(request)).await,
        None => Ok(None),
    }
}

/// Whose key it is, if anybody's; counted among the requests from that address.
async fn by_key(gateway: &Gateway, key: &str, address: ClientAddress) -> Result<Option<Actor>, Refusal> {
    let actor = gateway.service_keys.actor(&gateway.verifier, &gateway.node.store, key, clock::now()).await?;
    if actor.is_some() {
        gateway.limits.by_address(Kind::Service, address)?;
    }
    Ok(actor)
}

/// A body. None means no fields.
pub fn body<T: Default + DeserializeOwned>(sent: &[u8]) -> Result<T, Refusal> {
    if sent.is_empty() {
        return Ok(T::default());
    }
    if !sent.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::invalid("the body must be an object"));
    }
    serde_json::from_slice(sent).map_err(|error| Refusal::invalid(format!("the body is not as documented: {error}")))
}

/// Text that a person gave: bounded, and such that every database takes it.
pub fn text<'a>(name: &'static str, text: &'a str, most_chars: usize) -> Result<&'a str, Refusal> {
    if text.chars().count() > most_chars || text.contains('\0') {
        return Err(Refusal::invalid(format!("{name} must have at most {most_chars} characters and no NUL")));
    }
    Ok(text)
}

/// Which part of a list is asked for.
#[derive(Debug, Default, Deserialize)]
pub struct Paging {
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Paging {
    /// How many entries: 1 to 200, 50 if nothing is said.
    pub fn limit(&self) -> Result<usize, Refusal> {
        let limit = self.limit.unwrap_or(PAGE);
        if (1..=MAX_PAGE).contains(&limit) { Ok(limit) } else { Err(Refusal::invalid("limit must be 1 to 200")) }
    }

    /// What the last page ended with.
    pub fn after<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        let wrong = || Refusal::invalid("cursor must be one that a page was answered with");
        let Some(cursor) = &self.cursor else { return Ok(None) };
        Ok(Some(from_cursor(cursor).and_then(|id| parse(&id)).ok_or_else(wrong)?))
    }
}

/// Cuts what was read (one more than asked for, if there is more) to a page, and says where the next one begins.
pub fn page<T>(mut entries: Vec<T>, limit: usize, id: impl FnOnce(&T) -> String) -> (Vec<T>, Option<String>) {
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| to_cursor(&id(last)));
    (entries, next)
}

/// In hex: ids may hold anything, and clients are not to read it.
fn to_cursor(id: &str) -> String {
    id.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn from_cursor(cursor: &str) -> Option<String> {
    let byte = |pair: &[u8]| {
        let [high, low] = *pair else { return None };
        let value = char::from(high).to_digit(16)? << 4 | char::from(low).to_digit(16)?;
        u8::try_from(value).ok()
    };
    let bytes: Option<Vec<u8>> = cursor.as_bytes().chunks(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_the_id_it_was_made_of() {
        for id in ["team", "team 'ä'", "ünï/½"] {
            assert_eq!(from_cursor(&to_cursor(id)).as_deref(), Some(id));
        }
        for wrong in ["a", "zz", "ff", "7g", "é0"] {
            assert_eq!(from_cursor(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_page_that_is_followed_by_another_has_a_cursor() {
        let id = |n: &i32| n.to_string();
        assert_eq!(page(vec![1, 2], 2, id), (vec![1, 2], None));
        assert_eq!(page(vec![1, 2, 3], 2, id), (vec![1, 2], Some(to_cursor("2"))));
        assert_eq!(page(vec![], 2, id), (vec![], None));
    }
}
