//! The sweepers, what their runs found and did, and asking for a run.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    super::{
        calls::IDEMPOTENCY_KEY,
        params::Params,
        service::{Paging, body, page},
    },
    Service, not_found,
};
use crate::{
    actors::sweepers::{self, Described},
    clock,
    domain::{NodeId, RecordingId, Timestamp, UserId},
    gateway::{Gateway, auth::service::id_under, protocol::IdempotencyKey},
    store::{RequestOutcome, RequestState, RunsQuery, StoredRun, SweepAction, SweepRequest, SweeperNow},
    wire::{ErrorCode, Refusal},
};

/// Actions of one answer.
const MAX_ACTIONS: usize = 500;

/// A sweeper.
#[derive(Serialize, ToSchema)]
#[schema(as = Sweeper)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    /// Its name.
    name: &'a str,
    /// What it does, in a sentence.
    what: &'a str,
    /// How often it runs, about, in seconds.
    interval_secs: u64,
    /// The node that runs it now.
    #[schema(value_type = Option<NodeId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<&'a str>,
    /// Until when that node has it, unless it holds on.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<Timestamp>,
    /// When the next scheduled run may begin; missing of one that no node has entered yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    /// Its last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<Run<'a>>,
}

/// What made a sweeper run.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SweepCause)]
enum Cause {
    /// It was due.
    Schedule,
    /// Somebody asked for it.
    Hand,
}

/// A run of a sweeper, or several in a row that found nothing.
#[derive(Serialize, ToSchema)]
#[schema(as = SweepRun)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    /// Names it.
    run_id: Uuid,
    /// The sweeper.
    sweep: &'a str,
    /// The node that ran it.
    #[schema(value_type = NodeId)]
    node_id: &'a str,
    /// What made it run.
    by: Cause,
    /// It changed nothing.
    dry_run: bool,
    /// How many runs in a row this stands for.
    runs: u64,
    /// When it began; of several: when the first did.
    started_at: Timestamp,
    /// When it ended; missing while it is under way, and for good if its node died.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    /// What its look found.
    found: u64,
    /// On how much of that it acted.
    acted: u64,
    /// Where acting failed, or who decides could not be asked.
    failed: u64,
    /// `done`, `failed` or `could_not_ask`; missing while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    /// What there is to say of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl<'a> Run<'a> {
    fn of(StoredRun { run, started_at, finished_at }: &'a StoredRun) -> Self {
        Self {
            run_id: run.id,
            sweep: &run.sweeper,
            node_id: &run.node,
            by: if run.by_hand { Cause::Hand } else { Cause::Schedule },
            dry_run: run.dry_run,
            runs: run.runs,
            started_at: *started_at,
            finished_at: *finished_at,
            found: run.found,
            acted: run.acted,
            failed: run.failed,
            outcome: run.outcome.as_deref(),
            note: run.note.as_deref(),
        }
    }
}

/// What a run did about one thing, in the words of the log.
#[derive(Serialize, ToSchema)]
#[schema(as = SweepAction)]
#[serde(rename_all = "camelCase")]
struct Action<'a> {
    /// Counts the actions of the run from 1.
    n: u64,
    /// The call it was about; empty if it was about none.
    call_id: &'a str,
    /// The user it was about.
    #[schema(value_type = Option<UserId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    /// The recording it was about.
    #[schema(value_type = Option<RecordingId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_id: Option<&'a str>,
    /// What was done.
    what: &'a str,
    /// Why.
    why: &'a str,
    /// For how long it had been so, in seconds, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_secs: Option<u64>,
    /// `done`, `left_alone`, `could_not_ask`, `failed` or `dry_run`.
    outcome: &'a str,
}

impl<'a> Action<'a> {
    fn of(action: &'a SweepAction) -> Self {
        Self {
            n: action.n,
            call_id: &action.call,
            user_id: action.user.as_deref(),
            recording_id: action.recording.as_deref(),
            what: &action.what,
            why: &action.why,
            age_secs: action.age.as_ref().map(Duration::as_secs),
            outcome: &action.outcome,
        }
    }
}

/// The sweepers.
#[derive(Serialize, ToSchema)]
#[schema(as = Sweepers)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Sweeps<'a> {
    /// The cluster's time.
    server_time: Timestamp,
    /// All that this node's version has.
    sweeps: Vec<Shown<'a>>,
}

async fn list(request: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let now = gateway.node.store.sweepers_now().await?;
    let described = sweepers::described(gateway.node.sweep_interval.get().copied().unwrap_or_default());
    let show = |Described { name, what, interval }: &Described| {
        let state: Option<&SweeperNow> = now.iter().find(|state| state.name == *name);
        let held = state.and_then(|state| state.held.as_ref());
        Shown {
            name,
            what,
            interval_secs: interval.as_secs(),
            held_by: held.map(|(node, _)| node.as_str()),
            held_until: held.map(|(_, until)| *until),
            next_at: state.map(|state| state.due_at),
            last_run: state.and_then(|state| state.last_run.as_ref()).map(Run::of),
        }
    };
    let sweeps = described.iter().map(show).collect();
    Ok(service.json(StatusCode::OK, &Sweeps { server_time: clock::now(), sweeps }))
}

/// A page of the runs.
#[derive(Serialize, ToSchema)]
#[schema(as = SweepRuns)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Runs<'a> {
    /// The runs; the one that began last comes first.
    runs: Vec<Run<'a>>,
    /// Where the next page begins; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn runs(
    request: HttpRequest,
    paging: web::Query<Paging>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let params = Params::of(&request)?;
    let known = |text: &str| sweepers::NAMES.contains(&text).then(|| text.to_owned());
    let query = RunsQuery {
        sweeper: params.read("sweep", "the name of a sweeper", known)?,
        failed: params.flag("failed")?,
        after: paging.after(|id| id.parse().ok())?,
    };
    let limit = paging.limit()?;
    let found = gateway.node.store.sweep_runs_now(&query, limit + 1).await?;
    let (found, next_cursor) = page(found, limit, |run| run.run.id.to_string());
    Ok(service.json(StatusCode::OK, &Runs { runs: found.iter().map(Run::of).collect(), next_cursor }))
}

/// A run and what it did.
#[derive(Serialize, ToSchema)]
#[schema(as = SweepRunWithActions)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Report<'a> {
    /// The run.
    #[serde(flatten)]
    run: Run<'a>,
    /// What it did, in order; at most 500.
    actions: Vec<Action<'a>>,
    /// The `after` of the next actions; missing with the last there are so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u64>,
}

async fn run(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let after = Params::of(&request)?.number("after", 0, i64::MAX as u64)?.unwrap_or(0);
    let id: Uuid = path.parse().map_err(|_| not_found("run"))?;
    let store = &gateway.node.store;
    let run = store.sweep_run(id).await?.ok_or_else(|| not_found("run"))?;
    let mut actions = store.some_actions_of(id, after, MAX_ACTIONS + 1).await?;
    let more = actions.len() > MAX_ACTIONS;
    actions.truncate(MAX_ACTIONS);
    let next_after = actions.last().filter(|_| more).map(|action| action.n);
    let report = Report { run: Run::of(&run), actions: actions.iter().map(Action::of).collect(), next_after };
    Ok(service.json(StatusCode::OK, &report))
}

/// How a sweeper is to run.
#[derive(Deserialize, ToSchema)]
#[schema(as = SweepWish)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::gateway) struct SweepBody {
    /// Look and report, but change nothing: so it is unless the request says `false`.
    #[schema(default = true)]
    dry_run: bool,
}

impl Default for SweepBody {
    fn default() -> Self {
        Self { dry_run: true }
    }
}

/// A run that was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = SweepRequest)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Requested<'a> {
    /// Names the request.
    request_id: Uuid,
    /// The sweeper.
    sweep: &'a str,
    /// It is to change nothing.
    dry_run: bool,
}

async fn ask(
    request: HttpRequest,
    path: web::Path<String>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let name = path.into_inner();
    let SweepBody { dry_run } = body(&sent)?;
    let idempotency = request.headers().get(IDEMPOTENCY_KEY).map(|value| IdempotencyKey::from_header(value.as_bytes()));
    let id = match idempotency.transpose()? {
        Some(key) => id_under(&service.actor, key.as_str()),
        None => Uuid::now_v7(),
    };
    let kind = if dry_run { "dry run" } else { "for real" };
    let store = &gateway.node.store;
    if !sweepers::NAMES.contains(&name.as_str()) {
        return Err(not_found("sweeper"));
    }
    let act = service.act("sweep.request", "sweeper", name.as_str()).noting(Some(format!("{kind}, request {id}")));
    let wish = SweepRequest { id, sweeper: name, dry_run };
    match store.request_sweep_by(&wish, &act).await? {
        RequestOutcome::Made | RequestOutcome::Repeated => {
            let requested = Requested { request_id: id, sweep: &wish.sweeper, dry_run };
            Ok(service.json(StatusCode::ACCEPTED, &requested))
        }
        RequestOutcome::IdTaken => {
            Err(Refusal::new(ErrorCode::Conflict, "another run was asked for under this idempotency key"))
        }
    }
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SweepRequestState)]
enum Progress {
    /// No node has taken it yet.
    Waiting,
    /// A node runs it.
    Running,
    /// The run is over; without an outcome of the run its node died.
    Finished,
    /// No node took it within a minute, and none will.
    Withdrawn,
}

/// A run that was asked for, and how far it has come.
#[derive(Serialize, ToSchema)]
#[schema(as = SweepRequestProgress)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Followed<'a> {
    /// Names the request.
    request_id: Uuid,
    /// The sweeper.
    sweep: &'a str,
    /// It is to change nothing.
    dry_run: bool,
    /// How far it has come.
    state: Progress,
    /// The run it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<Uuid>,
}

async fn follow(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let id: Uuid = path.parse().map_err(|_| not_found("request"))?;
    let RequestState { sweeper, dry_run, expired, run, over } =
        gateway.node.store.sweep_request(id).await?.ok_or_else(|| not_found("request"))?;
    let state = match run {
        None if expired => Progress::Withdrawn,
        None => Progress::Waiting,
        Some(_) if over => Progress::Finished,
        Some(_) => Progress::Running,
    };
    Ok(service.json(StatusCode::OK, &Followed { request_id: id, sweep: &sweeper, dry_run, state, run_id: run }))
}

/// What is not the name of a sweeper comes first.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/admin/sweeps").route(web::get().to(list)))
        .service(web::resource("/admin/sweeps/runs").route(web::get().to(runs)))
        .service(web::resource("/admin/sweeps/runs/{runId}").route(web::get().to(run)))
        .service(web::resource("/admin/sweeps/requests/{requestId}").route(web::get().to(follow)))
        .service(web::resource("/admin/sweeps/{name}").route(web::post().to(ask)));
}
