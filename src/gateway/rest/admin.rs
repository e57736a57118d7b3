//! What an operator sees and does: nodes, open calls, a user, sweeps. For a service key, or a token with the role `admin`.
//!
//! Owns the order of an act: it is on record as `asked` before anything is done, and again with what came of it; if the
//! first cannot be recorded nothing is done. Must never take a node that did not answer for one with nothing to tell.

pub(in crate::gateway) mod calls;
pub(in crate::gateway) mod nodes;
pub(in crate::gateway) mod sweeps;
pub(in crate::gateway) mod users;

use std::time::Duration;

use actix_web::web;

use super::service::Service;
use crate::{
    clock,
    gateway::Gateway,
    store::Act,
    wire::{ErrorCode, Refusal},
};

/// Between two tries to record what came of an act, and how many there are. Fewer, and a short outage of the database
/// leaves an act with no more than that it was asked for; more, and who asked waits.
const RECORD_AGAIN: Duration = Duration::from_millis(200);
const RECORD_TRIES: u32 = 5;

/// An act that is on record and about to be done.
struct Asked(Act);

impl Asked {
    /// Puts the act on record.
    async fn by(
        service: &Service,
        gateway: &Gateway,
        (action, kind): (&'static str, &'static str),
        target: &str,
        note: Option<String>,
    ) -> Result<Self, Refusal> {
        let act = service.act(action, kind, target).noting(note);
        gateway.node.store.record_act(&act, "asked").await?;
        Ok(Self(act))
    }

    /// Puts on record what came of it. The act is done, or not, whatever becomes of that.
    async fn came_to(self, gateway: &Gateway, outcome: &str, note: Option<String>) {
        let act = self.0.again(clock::now()).noting(note);
        for _ in 0..RECORD_TRIES {
            match gateway.node.store.record_act(&act, outcome).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the outcome of an operator's act not recorded yet"),
            }
            tokio::time::sleep(RECORD_AGAIN).await;
        }
        tracing::error!(node.id = %gateway.node.id, outcome, "the outcome of an operator's act is not on record");
    }

    /// The same of a result: what was done, or the code of the refusal.
    async fn settled<T>(self, gateway: &Gateway, outcome: &str, result: Result<T, Refusal>) -> Result<T, Refusal> {
        let outcome = result.as_ref().map_or_else(|refusal| refusal.code.as_str(), |_| outcome);
        self.came_to(gateway, outcome, None).await;
        result
    }
}

fn not_found(what: &str) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no such {what}"))
}

/// `/admin/…`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.configure(nodes::routes).configure(calls::routes).configure(users::routes).configure(sweeps::routes);
}
