//! The lists as the store gives them: in order, filtered, in pages that do not shift.

use std::collections::HashSet;

use carillon::{
    domain::{CallStatus, Command},
    store::{Direction, HistoryEntry, HistoryQuery, Place, Store},
};

use super::{
    plans::{every_list, of, of_group, viewer},
    seed::{begun, id, seed},
};
use crate::store::{
    backend::Backend,
    run,
    scene::{begin, call_id, node, opening, user},
};

const CALLS: usize = 2000;

async fn whole(store: &Store, query: &HistoryQuery) -> Vec<HistoryEntry> {
    store.history(&viewer(query), query, None, 10_000).await.unwrap()
}

fn ids(entries: &[HistoryEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.place.call.as_str()).collect()
}

/// Reads the list page by page; after each page a new call comes to the same user.
async fn page_by_page(store: &Store, query: &HistoryQuery, limit: usize, newcomers: &str) -> Vec<HistoryEntry> {
    let mut read: Vec<HistoryEntry> = Vec::new();
    let mut after: Option<Place> = None;
    for n in 0.. {
        let page = store.history(&viewer(query), query, after.as_ref(), limit).await.unwrap();
        let full = page.len() == limit;
        read.extend(page);
        if !full {
            return read;
        }
        after = read.last().map(|entry| entry.place.clone());
        let caller = format!("{newcomers}{n}");
        let (commit, _) = begin(&opening(&format!("{newcomers}-{n}"), &caller, &[query.user.as_str()]), &node("n1"));
        store.commit(commit).await.unwrap();
    }
    unreachable!()
}

async fn pages(backend: Backend) {
    let store = backend.store().await;
    seed(&backend, CALLS);
    for (number, (name, list)) in every_list(CALLS).into_iter().enumerate() {
        let entries = whole(&store, &list).await;
        let order: Vec<_> = entries.iter().map(|entry| (entry.place.at, entry.place.call.clone())).collect();
        assert!(order.is_sorted_by(|a, b| a > b), "{name}: newest first, each once");
        assert_eq!(store.history_count(&viewer(&list), &list).await.unwrap() as usize, entries.len(), "{name}");
        assert!(entries.iter().all(|entry| entry.participants.len() > 1), "{name}");
        let limit = if entries.len() > 100 { 37 } else { 3 };
        let paged = page_by_page(&store, &list, limit, &format!("new{number}")).await;
        assert_eq!(ids(&paged), ids(&entries), "{name}");
    }
    // Calls of the same instant are told apart by their ids.
    backend.execute(
        "UPDATE participants SET invited_at = (SELECT min(invited_at) FROM participants) WHERE user_id = 'heavy'",
    );
    let entries = whole(&store, &of("heavy")).await;
    let paged = page_by_page(&store, &of("heavy"), 7, "same").await;
    assert_eq!(ids(&paged), ids(&entries));
    assert!(entries.len() > 200);
}

async fn filters(backend: Backend) {
    let store = backend.store().await;
    seed(&backend, CALLS);
    let all = whole(&store, &of("heavy")).await;
    assert_eq!(all.len(), CALLS / 10);
    assert_eq!(all[0].place, Place { at: begun(CALLS - 10), call: call_id(&id(CALLS - 10)) });
    let first = &all[0].participants;
    assert_eq!(first.len(), 3);
    assert_eq!(first[0].user, all[0].initiator, "the initiator first");
    let none = whole(&store, &HistoryQuery { direction: Some(Direction::Outgoing), ..of("heavy") }).await;
    assert!(none.is_empty());
    let outgoing = HistoryQuery { direction: Some(Direction::Outgoing), ..of("a17") };
    assert_eq!(whole(&store, &outgoing).await, whole(&store, &of("a17")).await);
    let missed = whole(&store, &HistoryQuery { missed: Some(true), ..of("b42") }).await;
    let other = whole(&store, &HistoryQuery { missed: Some(false), ..of("b42") }).await;
    assert!(!missed.is_empty() && missed.iter().all(|entry| entry.status == "missed"));
    assert_eq!(missed.len() + other.len(), whole(&store, &of("b42")).await.len());
    let status = HistoryQuery { status: Some(CallStatus::Active), ..of("heavy") };
    assert_eq!(whole(&store, &status).await.len(), 5);
    let with = HistoryQuery { with: Some(user(&all[0].initiator)), ..of("heavy") };
    let with = whole(&store, &with).await;
    assert!(!with.is_empty() && with.len() < all.len());
    assert!(with.iter().all(|entry| entry.initiator == all[0].initiator));
    let period = HistoryQuery { since: Some(begun(100)), until: Some(begun(130)), ..of("heavy") };
    assert_eq!(ids(&whole(&store, &period).await), [id(120), id(110), id(100)], "since is in, until is out");
    // A group's calls, also those the asker had no part in.
    let group = whole(&store, &of_group("nobody")).await;
    assert_eq!(group.len(), CALLS / 50);
    assert!(group.iter().all(|entry| entry.group.as_deref() == Some("big")));
    let own = HistoryQuery { direction: Some(Direction::Incoming), ..of_group("heavy") };
    assert_eq!(whole(&store, &own).await.len(), group.len());
    let own = HistoryQuery { missed: Some(false), ..of_group("nobody") };
    assert!(whole(&store, &own).await.is_empty());
}

async fn active(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob", "carol"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (commit, _) = begin(&opening("c2", "dave", &["bob"]), &node("n2"));
    store.commit(commit).await.unwrap();
    let of = async |name| {
        ids(&store.active_calls(&user(name)).await.unwrap()).iter().map(|id| id.to_string()).collect::<HashSet<_>>()
    };
    assert_eq!(of("bob").await, HashSet::from(["c1".to_owned(), "c2".to_owned()]));
    let (commit, _) = call.decide("bob", &Command::Decline { reason: None });
    store.commit(commit).await.unwrap();
    assert_eq!(of("bob").await, HashSet::from(["c2".to_owned()]));
    assert_eq!(of("alice").await, HashSet::from(["c1".to_owned()]));
    assert!(of("nobody").await.is_empty());
}

async fn tallies(backend: Backend) {
    let store = backend.store().await;
    seed(&backend, CALLS);
    let tallies = store.tally(&user("heavy"), begun(0), begun(CALLS)).await.unwrap();
    let of = |status: &str| tallies.iter().filter(|t| t.status == status).map(|t| t.calls).sum::<u64>();
    assert_eq!((of("ended"), of("active")), (195, 5));
    let talked: u64 = tallies.iter().map(|tally| tally.talked_ms).sum();
    assert_eq!(talked, 195 * 55_000, "from when it was answered to its end");
    assert_eq!(tallies.iter().map(|tally| tally.talks).sum::<u64>(), 195);
    assert!(tallies.iter().all(|tally| tally.hour == 0), "{CALLS} seconds after midnight, UTC");
    assert!(store.tally(&user("heavy"), begun(CALLS), begun(CALLS + 1)).await.unwrap().is_empty());
    let part = store.tally(&user("heavy"), begun(10), begun(30)).await.unwrap();
    assert_eq!(part.iter().map(|tally| tally.calls).sum::<u64>(), 2);
}

macro_rules! on_both {
    ($($case:ident as $on_sqlite:ident, $on_postgres:ident;)*) => {
        $(#[test] fn $on_sqlite() { run($case(Backend::sqlite())); }
        #[test] fn $on_postgres() { run($case(Backend::postgres())); })*
    };
}

on_both! {
    pages as pages_hold_every_call_once_while_others_come_in_sqlite, pages_hold_every_call_once_while_others_come_in_postgres;
    filters as lists_are_filtered_in_sqlite, lists_are_filtered_in_postgres;
    active as active_calls_are_those_a_user_is_in_or_rung_for_in_sqlite, active_calls_are_those_a_user_is_in_or_rung_for_in_postgres;
    tallies as calls_are_counted_by_status_and_hour_in_sqlite, calls_are_counted_by_status_and_hour_in_postgres;
}

/// Reads the list page by page, each of which looks at a few rows only.
async fn in_small_looks(store: &Store, query: &HistoryQuery, most: usize) -> (Vec<HistoryEntry>, usize, bool) {
    let (mut read, mut pages, mut short) = (Vec::new(), 0, false);
    let mut after: Option<Place> = None;
    loop {
        let page = store.history_page_within(&viewer(query), query, after.as_ref(), 10, most).await.unwrap();
        pages += 1;
        short |= page.entries.len() < 10 && page.next.is_some();
        assert!(page.entries.len() <= 10);
        read.extend(page.entries);
        let Some(next) = page.next else { return (read, pages, short) };
        assert!(after.is_none_or(|after| (next.at, &next.call) < (after.at, &after.call)), "a page goes on");
        after = Some(next);
    }
}

async fn bounded(backend: Backend) {
    const MOST: usize = 50;
    let store = backend.store().await;
    seed(&backend, CALLS);
    let rows = CALLS / 10;
    for (name, list) in every_list(CALLS) {
        let (read, pages, short) = in_small_looks(&store, &list, MOST).await;
        let entries = whole(&store, &list).await;
        assert_eq!(ids(&read), ids(&entries), "{name}: the same calls, each once");
        assert!(pages <= 2 + entries.len() / 10 + rows / MOST, "{name}: {pages} pages");
        if name == "heavy user, status failed" {
            assert!(short && entries.len() < 10, "{name}: pages that are not full go on");
        }
    }
}

#[test]
fn a_page_whose_filter_hardly_matches_stops_and_goes_on_later_in_postgres() {
    run(bounded(Backend::postgres()));
}

#[test]
fn a_page_whose_filter_hardly_matches_stops_and_goes_on_later_in_sqlite() {
    run(bounded(Backend::sqlite()));
}
