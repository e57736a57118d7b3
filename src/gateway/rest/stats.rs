//! A user's calls in a period, counted.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{calls::reader, history::json, params::Params};
use crate::{
    clock,
    domain::{CallStatus, Timestamp},
    gateway::Gateway,
    store::CallTally,
    wire::Refusal,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The period, unless the request says.
const USUAL_PERIOD: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The longest period. All its calls are read: more would keep a connection busy for long.
const MAX_PERIOD_DAYS: u32 = 366;
/// Hours that count as peaks, at most.
const PEAKS: usize = 3;

/// A user's calls in a period, counted.
#[derive(Serialize, Debug, PartialEq, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Stats {
    /// The beginning of the period.
    since: Timestamp,
    /// Its end.
    until: Timestamp,
    /// All calls.
    total: u64,
    /// Those that have not ended.
    active: u64,
    /// Those with the status `ended`.
    completed: u64,
    /// Those with the status `failed`.
    failed: u64,
    /// Those with the status `missed`.
    missed: u64,
    /// Those with the status `declined`.
    declined: u64,
    /// Those with the status `busy`.
    busy: u64,
    /// Those with the status `cancelled`.
    cancelled: u64,
    /// Completed of those that have ended, 0 to 1; null where none has.
    #[schema(required = true)]
    success_rate: Option<f64>,
    /// Seconds that people talked.
    total_duration_secs: u64,
    /// The mean of calls in which somebody talked; null where there is none.
    #[schema(required = true)]
    mean_duration_secs: Option<f64>,
    /// Up to three hours of the day with the most calls, most first.
    peak_hours: Vec<Peak>,
}

/// An hour of the day.
#[derive(Serialize, Debug, PartialEq, ToSchema)]
#[schema(as = PeakHour)]
struct Peak {
    /// 0 to 23, UTC.
    #[schema(minimum = 0, maximum = 23)]
    hour: u8,
    /// Calls that began in it.
    calls: u64,
}

/// Rounded: what follows is noise.
fn to_places(number: f64, places: i32) -> f64 {
    let factor = 10f64.powi(places);
    (number * factor).round() / factor
}

impl Stats {
    fn of(tallies: &[CallTally], since: Timestamp, until: Timestamp) -> Self {
        let of = |status: CallStatus| {
            tallies.iter().filter(|tally| tally.status == status.as_str()).map(|tally| tally.calls).sum::<u64>()
        };
        let total: u64 = tallies.iter().map(|tally| tally.calls).sum();
        let (completed, failed) = (of(CallStatus::Ended), of(CallStatus::Failed));
        let (missed, declined) = (of(CallStatus::Missed), of(CallStatus::Declined));
        let (busy, cancelled) = (of(CallStatus::Busy), of(CallStatus::Cancelled));
        let ended = completed + failed + missed + declined + busy + cancelled;
        let talks: u64 = tallies.iter().map(|tally| tally.talks).sum();
        let talked_ms: u64 = tallies.iter().map(|tally| tally.talked_ms).sum();
        let mut hours = [0; 24];
        for tally in tallies {
            if let Some(calls) = hours.get_mut(usize::from(tally.hour)) {
                *calls += tally.calls;
            }
        }
        let mut peaks: Vec<Peak> =
            (0..).zip(hours).filter(|(_, calls)| *calls > 0).map(|(hour, calls)| Peak { hour, calls }).collect();
        peaks.sort_by_key(|peak| (std::cmp::Reverse(peak.calls), peak.hour));
        peaks.truncate(PEAKS);
        Self {
            since,
            until,
            total,
            active: total - ended,
            completed,
            failed,
            missed,
            declined,
            busy,
            cancelled,
            success_rate: (ended > 0).then(|| to_places(completed as f64 / ended as f64, 4)),
            total_duration_secs: talked_ms / 1000,
            mean_duration_secs: (talks > 0).then(|| to_places(talked_ms as f64 / 1000.0 / talks as f64, 3)),
            peak_hours: peaks,
        }
    }
}

async fn stats(http: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let user = reader(&http, &gateway).await?.user;
    let params = Params::of(&http)?;
    let until = params.time("until")?.unwrap_or_else(clock::now);
    let since = params.time("since")?.unwrap_or(until - USUAL_PERIOD);
    if since >= until {
        return Err(Refusal::invalid("since must be before until"));
    }
    if until.since(since) > DAY * MAX_PERIOD_DAYS {
        return Err(Refusal::invalid(format!("since must be at most {MAX_PERIOD_DAYS} days before until")));
    }
    let tallies = gateway.node.store.tally(&user, since, until).await?;
    Ok(json(&Stats::of(&tallies, since, until)))
}

/// Before the resource of one call: `stats` names none.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/calls/stats").guard(actix_web::guard::Get()).route(web::get().to(stats)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_how_they_ended() {
        let tally = |status: CallStatus, hour, calls, talks, talked_ms| CallTally {
            status: status.as_str().to_owned(),
            hour,
            calls,
            talks,
            talked_ms,
        };
        let tallies = [
            tally(CallStatus::Ended, 9, 4, 4, 100_500),
            tally(CallStatus::Ended, 17, 1, 1, 1_000),
            tally(CallStatus::Missed, 9, 2, 0, 0),
            tally(CallStatus::Active, 17, 1, 0, 0),
            tally(CallStatus::Failed, 3, 1, 0, 0),
            tally(CallStatus::Busy, 4, 1, 0, 0),
        ];
        let (since, until) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let stats = Stats::of(&tallies, since, until);
        assert_eq!((stats.total, stats.active, stats.completed, stats.missed), (10, 1, 5, 2));
        assert_eq!((stats.failed, stats.busy, stats.declined, stats.cancelled), (1, 1, 0, 0));
        assert_eq!((stats.success_rate, stats.total_duration_secs), (Some(0.5556), 101));
        assert_eq!(stats.mean_duration_secs, Some(20.3));
        let peaks: Vec<(u8, u64)> = stats.peak_hours.iter().map(|peak| (peak.hour, peak.calls)).collect();
        assert_eq!(peaks, [(9, 6), (17, 2), (3, 1)]);
        let nothing = Stats::of(&[], since, until);
        assert_eq!((nothing.total, nothing.success_rate, nothing.mean_duration_secs), (0, None, None));
    }
}
