//! Groups and their members, managed by the application with a service key.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::{Deserialize, Serialize};

use super::problem;
use crate::{
    domain::{GroupId, UserId},
    gateway::{Gateway, auth::bearer},
    store::MemberRole,
    wire::{ErrorCode, Refusal},
};

/// The longest name of a group, in characters.
const MAX_NAME_CHARS: usize = 200;

#[derive(Deserialize, Default)]
struct GroupBody {
    name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupAnswer<'a> {
    group_id: &'a GroupId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Deserialize, Default)]
struct MemberBody {
    role: Option<MemberRole>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberAnswer<'a> {
    group_id: &'a GroupId,
    user_id: &'a UserId,
    role: MemberRole,
}

fn check(request: &HttpRequest, gateway: &Gateway) -> Result<(), Refusal> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match header.and_then(bearer) {
        Some(key) if gateway.verifier.service_key_matches(key) => Ok(()),
        _ => Err(Refusal::new(ErrorCode::Unauthenticated, "a service key is needed")),
    }
}

fn group_id(text: &str) -> Result<GroupId, Refusal> {
    GroupId::new(text).map_err(|error| Refusal::invalid(error.to_string()))
}

fn user_id(text: &str) -> Result<UserId, Refusal> {
    UserId::new(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// An absent body means no fields.
fn body<T: Default>(body: Option<web::Json<T>>) -> T {
    body.map(web::Json::into_inner).unwrap_or_default()
}
