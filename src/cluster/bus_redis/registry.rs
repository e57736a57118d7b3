//! Which users this node wants to hear of, and how far the server has got with that.
//!
//! Owns the wishes and who waits for them. It must never be locked while the network or an inbox is at work. It survives the
//! connection: wishes stay, what the server knew is forgotten, those who waited are told.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use crate::domain::ids::UserId;

/// What the server does about a user's channel, on the connection of now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Absent,
    /// SUBSCRIBE is on its way.
    Asking,
    /// Confirmed, on the connection of this number.
    Subscribed(u64),
    /// UNSUBSCRIBE is on its way.
    Leaving,
}

struct Wish {
    wanted: bool,
    standing: Standing,
    /// Already in the list for the next round.
    listed: bool,
    /// Told when confirmed; dropped when it came to nothing.
    waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// None yet, and the first attempt has not failed.
    First,
    There,
    Gone,
}

struct State {
    connection: Connection,
    users: HashMap<UserId, Wish>,
    /// Users whose standing may differ from the wish.
    changed: Vec<UserId>,
}

/// See the module.
pub(super) struct Registry {
    state: Mutex<State>,
    /// Told when the next round has something to do.
    pub(super) changed: Notify,
}

/// How a subscription stands when it is asked for.
pub(super) enum Subscribing {
    Confirmed,
    Wait(oneshot::Receiver<()>),
    /// Noted, for when the connection is back.
    Noted,
}

/// What to say to the server next.
#[derive(Default)]
pub(super) struct Round {
    pub(super) subscribe: Vec<UserId>,
    pub(super) unsubscribe: Vec<UserId>,
}

impl Registry {
    pub(super) fn new() -> Self {
        let state = State { connection: Connection::First, users: HashMap::new(), changed: Vec::new() };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn want(&self, user: &UserId) -> Subscribing {
        let mut state = self.lock();
        let connection = state.connection;
        let wish = state.wish(user);
        wish.wanted = true;
        if matches!(wish.standing, Standing::Subscribed(_)) {
            return Subscribing::Confirmed;
        }
        if connection == Connection::Gone {
            return Subscribing::Noted;
        }
        let (confirmed, wait) = oneshot::channel();
        wish.waiting.push(confirmed);
        state.list(user);
        drop(state);
        self.changed.notify_one();
        Subscribing::Wait(wait)
    }

    pub(super) fn drop_wish(&self, user: &UserId) {
        let mut state = self.lock();
        let Some(wish) = state.users.get_mut(user) else { return };
        wish.wanted = false;
        if state.connection == Connection::Gone {
            state.users.remove(user);
            return;
        }
        state.list(user);
        drop(state);
        self.changed.notify_one();
    }

    /// The user, if this node wants to hear of them. By text, so that receiving makes no new string.
    pub(super) fn wanted(&self, user: &str) -> Option<UserId> {
        let state = self.lock();
        let (user, wish) = state.users.get_key_value(user)?;
        wish.wanted.then(|| user.clone())
    }

    /// The number of the connection on which the user is wanted and confirmed.
    pub(super) fn confirmed_on(&self, user: &UserId) -> Option<u64> {
        match self.lock().users.get(user) {
            Some(Wish { wanted: true, standing: Standing::Subscribed(connection), .. }) => Some(*connection),
            _ => None,
        }
    }

    /// All that changed since the last round.
    pub(super) fn next_round(&self) -> Round {
        let mut state = self.lock();
        let mut round = Round::default();
        for user in std::mem::take(&mut state.changed) {
            let Some(wish) = state.users.get_mut(&user) else { continue };
            wish.listed = false;
            match (wish.wanted, wish.standing) {
                (true, Standing::Absent) => {
                    wish.standing = Standing::Asking;
                    round.subscribe.push(user);
                }
                (false, Standing::Subscribed(_)) => {
                    wish.standing = Standing::Leaving;
                    round.unsubscribe.push(user);
                }
                (false, Standing::Absent) => {
                    state.users.remove(&user);
                }
                _ => {}
            }
        }
        round
    }

    pub(super) fn on_subscribed(&self, users: &[UserId], connection: u64) {
        let mut state = self.lock();
        for user in users {
            if let Some(wish) = state.users.get_mut(user) {
                wish.standing = Standing::Subscribed(connection);
                for waiting in wish.waiting.drain(..) {
                    let _ = waiting.send(());
                }
            }
        }
    }

    pub(super) fn on_unsubscribed(&self, users: &[UserId]) {
        let mut state = self.lock();
        for user in users {
            let Some(wish) = state.users.get_mut(user) else { continue };
            wish.standing = Standing::Absent;
            if !wish.wanted {
                state.users.remove(user);
            }
            // A wish that came meanwhile has listed itself for the next round.
        }
    }

    /// A new connection stands, on which nothing is subscribed yet: the next round holds all wishes.
    pub(super) fn on_connected(&self) {
        let mut state = self.lock();
        state.connection = Connection::There;
        state.users.retain(|_, wish| wish.wanted);
        let State { users, changed, .. } = &mut *state;
        changed.clear();
        for (user, wish) in users {
            wish.standing = Standing::Absent;
            wish.listed = true;
            changed.push(user.clone());
        }
    }

    pub(super) fn on_lost(&self) {
        let mut state = self.lock();
        state.connection = Connection::Gone;
        state.changed.clear();
        state.users.retain(|_, wish| {
            wish.standing = Standing::Absent;
            wish.listed = false;
            wish.waiting.clear();
            wish.wanted
        });
    }
}

impl State {
    fn wish(&mut self, user: &UserId) -> &mut Wish {
        self.users.entry(user.clone()).or_insert_with(|| Wish {
            wanted: true,
            standing: Standing::Absent,
            listed: false,
            waiting: Vec::new(),
        })
    }

    fn list(&mut self, user: &UserId) {
        if let Some(wish) = self.users.get_mut(user)
            && !wish.listed
        {
            wish.listed = true;
            self.changed.push(user.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        UserId::new("ada").unwrap()
    }

    #[test]
    fn a_wish_that_changes_while_the_server_is_asked_is_settled_in_the_next_round() {
        let registry = Registry::new();
        registry.on_connected();
        let Subscribing::Wait(mut wait) = registry.want(&user()) else { panic!("not yet confirmed") };
        assert_eq!(registry.next_round().subscribe, [user()]);
        registry.drop_wish(&user());
        assert_eq!(registry.wanted("ada"), None);
        registry.on_subscribed(&[user()], 1);
        assert_eq!(wait.try_recv(), Ok(()));
        assert_eq!(registry.next_round().unsubscribe, [user()]);
        assert!(matches!(registry.want(&user()), Subscribing::Wait(_)));
        registry.on_unsubscribed(&[user()]);
        assert_eq!(registry.next_round().subscribe, [user()]);
        registry.on_subscribed(&[user()], 1);
        assert!(matches!(registry.want(&user()), Subscribing::Confirmed));
        assert_eq!(registry.confirmed_on(&user()), Some(1));
    }

    #[test]
    fn a_lost_connection_tells_those_who_wait_and_keeps_the_wishes() {
        let registry = Registry::new();
        let Subscribing::Wait(mut wait) = registry.want(&user()) else { panic!("nothing is confirmed yet") };
        registry.on_lost();
        assert!(wait.try_recv().is_err());
        assert!(matches!(registry.want(&user()), Subscribing::Noted));
        assert_eq!(registry.confirmed_on(&user()), None);
        registry.on_connected();
        assert_eq!(registry.next_round().subscribe, [user()]);
    }

    #[test]
    fn nothing_is_kept_of_users_no_longer_wanted() {
        let registry = Registry::new();
        registry.on_connected();
        let _ = registry.want(&user());
        registry.drop_wish(&user());
        assert!(registry.next_round().subscribe.is_empty());
        assert!(registry.lock().users.is_empty());
        let _ = registry.want(&user());
        registry.on_lost();
        registry.drop_wish(&user());
        assert!(registry.lock().users.is_empty());
    }
}
