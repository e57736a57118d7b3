//! What participants have reported of a call's quality, summed up. How it is reported is `call:quality`, like any command.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    calls,
    history::{Readable, json, readable},
    privileged::{self, Read},
};
use crate::{
    domain::{
        CallId, Timestamp, UserId,
        quality::{Score, rating, score_of_rating},
    },
    gateway::{Gateway, protocol::MAX_FRAME_BYTES},
    store::{QualitySums, Spread},
    wire::Refusal,
};

/// What participants have reported of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = CallQuality)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Quality<'a> {
    /// The call.
    call_id: &'a CallId,
    /// That of the mean of the participants' ratings; null: nobody has reported what says.
    #[schema(required = true)]
    score: Option<Score>,
    /// How many reports there are.
    reports: u64,
    /// Those who have reported, in the order of their ids.
    participants: Vec<OfParticipant<'a>>,
}

/// What one participant has reported.
#[derive(Serialize, ToSchema)]
#[schema(as = ParticipantQuality)]
#[serde(rename_all = "camelCase")]
struct OfParticipant<'a> {
    /// The user.
    #[schema(value_type = UserId)]
    user_id: &'a str,
    /// That of the means below; null: nothing was reported that says.
    #[schema(required = true)]
    score: Option<Score>,
    /// How many reports there are.
    reports: u64,
    /// Reports by their score.
    scores: Scores,
    /// Jitter in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_ms: Option<Worst>,
    /// Packets lost, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_loss_pct: Option<Worst>,
    /// Round trip in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_ms: Option<Worst>,
    /// Bandwidth in kbit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth_kbps: Option<Worst>,
    /// Frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    fps: Option<Worst>,
    /// Media went by a TURN server, by at least one report.
    used_turn: bool,
    /// When the first was measured.
    first_at: Timestamp,
    /// When the last was measured.
    last_at: Timestamp,
}

/// Reports by their score.
#[derive(Serialize, ToSchema)]
#[schema(as = QualityScores)]
struct Scores {
    /// Excellent ones.
    excellent: u64,
    /// Good ones.
    good: u64,
    /// Fair ones.
    fair: u64,
    /// Poor ones.
    poor: u64,
}

/// Of the reports that say: their mean, and the worst of them.
#[derive(Serialize, ToSchema)]
#[schema(as = Spread)]
struct Worst {
    /// Their mean.
    mean: f64,
    /// The worst of them.
    worst: f64,
}

fn spread(spread: Spread) -> Option<Worst> {
    let rounded = |number: f64| (number * 1000.0).round() / 1000.0;
    spread.mean.zip(spread.worst).map(|(mean, worst)| Worst { mean: rounded(mean), worst: rounded(worst) })
}

fn rating_of(sums: &QualitySums) -> Option<f64> {
    rating(sums.jitter_ms.mean, sums.packet_loss_pct.mean, sums.round_trip_ms.mean)
}

impl<'a> OfParticipant<'a> {
    fn of(sums: &'a QualitySums) -> Self {
        Self {
            user_id: &sums.user,
            score: rating_of(sums).map(score_of_rating),
            reports: sums.reports,
            scores: Scores { excellent: sums.excellent, good: sums.good, fair: sums.fair, poor: sums.poor },
            jitter_ms: spread(sums.jitter_ms),
            packet_loss_pct: spread(sums.packet_loss_pct),
            round_trip_ms: spread(sums.round_trip_ms),
            bandwidth_kbps: spread(sums.bandwidth_kbps),
            fps: spread(sums.fps),
            used_turn: sums.by_turn > 0,
            first_at: sums.first_at,
            last_at: sums.last_at,
        }
    }
}

async fn get(http: HttpRequest, path: web::Path<String>, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let Readable { call, viewer, admin } = readable(&http, &path, &gateway).await?;
    let store = &gateway.node.store;
    let sums = store.quality_of(&viewer, &call).await?;
    if let Some(admin) = admin {
        if sums.is_empty() && store.call_owner(&call).await?.is_none() {
            return Err(crate::domain::Rejection::NotFound.into());
        }
        privileged::by_actor(&http, &gateway, &admin, Read::Quality, call.as_str()).await?;
    }
    let ratings: Vec<f64> = sums.iter().filter_map(rating_of).collect();
    let mean = (!ratings.is_empty()).then(|| ratings.iter().sum::<f64>() / ratings.len() as f64);
    Ok(json(&Quality {
        call_id: &call,
        score: mean.map(score_of_rating),
        reports: sums.iter().map(|sums| sums.reports).sum(),
        participants: sums.iter().map(OfParticipant::of).collect(),
    }))
}

async fn post(
    http: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    calls::act(http, web::Path::from((path.into_inner(), "quality".to_owned())), body, gateway).await
}

/// `/calls/{callId}/quality`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/calls/{callId}/quality")
            .app_data(web::PayloadConfig::new(MAX_FRAME_BYTES))
            .route(web::get().to(get))
            .route(web::post().to(post)),
    );
}
