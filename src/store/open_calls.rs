//! "Which calls are these users in?", asked at every start and every hello.
//!
//! In a storm of connections a thousand ask at once: whoever waits when a connection comes free shares one statement.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use diesel::prelude::*;
use tokio::sync::oneshot;

use super::{
    Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::{calls, participants},
};
use crate::domain::{CallId, NodeId, UserId};

/// Users of one statement. More make it long without making it cheaper per user.
const BATCH_USERS: usize = 512;

/// How long to wait for another's visit before making one more. Shorter: needless visits to a slow database; longer: who
/// shared a statement that failed hears of it late.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A call that a user is rung or engaged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    pub user: UserId,
    pub call: CallId,
    /// Who may write it; not necessarily alive.
    pub owner: NodeId,
}

type Reply = oneshot::Sender<Result<Vec<OpenCall>, StoreError>>;

/// Questions that wait for a connection.
#[derive(Default)]
pub(super) struct Questions {
    waiting: Mutex<Vec<(Vec<UserId>, Reply)>>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Vec<(Vec<UserId>, Reply)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes questions of up to [`BATCH_USERS`] users, at least one question.
    fn take(&self) -> Vec<(Vec<UserId>, Reply)> {
        let mut waiting = self.lock();
        let mut users = 0;
        let fits = waiting.iter().take_while(|(asked, _)| {
            users += asked.len();
            users <= BATCH_USERS
        });
        let count = fits.count().max(1).min(waiting.len());
        waiting.drain(..count).collect()
    }
}

impl Store {
    /// The open calls that the user is rung or engaged in.
    pub async fn open_calls_of(&self, user: &UserId) -> Result<Vec<CallId>, StoreError> {
        let open = self.open_calls_of_all(std::slice::from_ref(user)).await?;
        Ok(open.into_iter().map(|open| open.call).collect())
    }

    /// The open calls that any of `users` is rung or engaged in. Users with none do not occur.
    pub async fn open_calls_of_all(&self, users: &[UserId]) -> Result<Vec<OpenCall>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, mut answer) = oneshot::channel();
        let questions = self.questions().clone();
        questions.lock().push((users.to_vec(), reply));
        // One visit to the pool per question, and each answers all that wait by then: most find nothing left to do.
        loop {
            let waiting = questions.clone();
            let visited = self.read(move |conn| answer_waiting(conn, &waiting)).await;
            if let Ok(answered) = answer.try_recv() {
                return answered;
            }
            visited?;
            // Another's visit took the question. It may not be done yet, or fail in the end and give it back.
            if let Ok(answered) = tokio::time::timeout(LOOK_AGAIN, &mut answer).await {
                return answered.unwrap_or(Err(StoreError::Unavailable { unknown_outcome: false }));
            }
        }
    }
}

fn answer_waiting(conn: &mut Conn, questions: &Arc<Questions>) -> Result<(), Fault> {
    let taken: Vec<_> = questions.take().into_iter().filter(|(_, reply)| !reply.is_closed()).collect();
    if taken.is_empty() {
        return Ok(());
    }
    let users: HashSet<&str> = taken.iter().flat_map(|(users, _)| users).map(UserId::as_str).collect();
    match look_up(conn, &users) {
        Ok(found) => {
            for (users, reply) in taken {
                let of_user = |user: &UserId| found.get(user).cloned().unwrap_or_default();
                let mut seen = HashSet::new();
                let calls = users.iter().filter(|user| seen.insert(*user)).flat_map(of_user).collect();
                let _ = reply.send(Ok(calls));
            }
            Ok(())
        }
        Err(fault) => {
            // Back in front of the queue, for this visit's second try or for the next visit.
            questions.lock().splice(0..0, taken);
            Err(fault)
        }
    }
}

fn look_up(conn: &mut Conn, users: &HashSet<&str>) -> Result<HashMap<UserId, Vec<OpenCall>>, Fault> {
    let users: Vec<&str> = users.iter().copied().collect();
    let rows: Vec<(String, String, String)> = with_conn!(conn, |c| {
        participants::table
            .inner_join(calls::table.on(calls::id.eq(participants::call_id)))
            .filter(participants::open.and(participants::user_id.eq_any(&users)))
            .select((participants::user_id, participants::call_id, calls::owner_node))
            .load(c)?
    });
    let mut found: HashMap<UserId, Vec<OpenCall>> = HashMap::new();
    for (user, call, owner) in rows {
        let unreadable = |_| Fault::Unreadable("an id");
        let user = UserId::new(user).map_err(unreadable)?;
        let open = OpenCall {
            user: user.clone(),
            call: CallId::new(call).map_err(unreadable)?,
            owner: NodeId::new(owner).map_err(unreadable)?,
        };
        found.entry(user).or_default().push(open);
    }
    Ok(found)
}
