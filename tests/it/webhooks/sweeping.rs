//! What is forgotten of deliveries, and what is not.

use std::time::Duration;

use crate::store::{backend::Backend, run};

const DAY: Duration = Duration::from_secs(86_400);

/// A delivery that came into its state so many days ago.
fn put(backend: &Backend, number: u8, webhook: u8, state: &str, days: u64) {
    let id = |number: u8| match backend {
        Backend::Sqlite(_) => format!("x'019a00000000700080000000000000{number:02x}'"),
        Backend::Postgres(_) => format!("'019a0000-0000-7000-8000-0000000000{number:02x}'"),
    };
    let ago = match backend {
        Backend::Sqlite(_) => format!("(unixepoch() - {days} * 86400) * 1000000"),
        Backend::Postgres(_) => format!("now() - interval '{days} days'"),
    };
    let settled = if matches!(state, "due" | "waiting") { "NULL" } else { &ago };
    backend.execute(&format!(
        "INSERT INTO webhook_deliveries (id, webhook_id, event, lane, pos, created_at, payload, state, next_at, attempts, \
         settled_at) VALUES ({}, {}, 'call.ended', 'lane-{number}', 1, {ago}, '{{}}', '{state}', {ago}, 1, {settled})",
        id(number),
        id(webhook)
    ));
}

#[test]
fn what_was_settled_well_goes_after_a_week_and_dead_letters_after_a_month() {
    run(async {
        for backend in [Backend::sqlite(), Backend::postgres()] {
            let store = backend.store().await;
            let (id, now) = match backend {
                Backend::Sqlite(_) => ("x'019a00000000700080000000000000ff'", "0"),
                Backend::Postgres(_) => ("'019a0000-0000-7000-8000-0000000000ff'", "now()"),
            };
            backend.execute(&format!(
                "INSERT INTO webhooks (id, url, events, enabled, secret, old_secrets, created_at, updated_at) \
                 VALUES ({id}, 'https://x.example/', '*', {}, 's', '[]', {now}, {now})",
                if matches!(backend, Backend::Sqlite(_)) { "1" } else { "true" }
            ));
            let stays = [("delivered", 6), ("expired", 6), ("dead", 29), ("due", 29), ("waiting", 8)];
            let goes = [("delivered", 8), ("expired", 8), ("dead", 31), ("due", 31), ("waiting", 31)];
            for (number, (state, days)) in (1..).zip(stays.into_iter().chain(goes)) {
                put(&backend, number, 0xff, state, days);
            }
            // Of a webhook that is gone.
            put(&backend, 0x20, 0xee, "due", 0);
            assert_eq!(store.count_old_deliveries(7 * DAY, 30 * DAY).await.unwrap(), 6);
            assert_eq!(store.forget_deliveries(7 * DAY, 30 * DAY).await.unwrap(), 6);
            assert_eq!(store.forget_deliveries(7 * DAY, 30 * DAY).await.unwrap(), 0);
            assert_eq!(backend.count("webhook_deliveries"), 5);
        }
    });
}

#[test]
fn what_waits_behind_nothing_is_woken_and_what_waits_behind_something_is_not() {
    run(async {
        for backend in [Backend::sqlite(), Backend::postgres()] {
            let store = backend.store().await;
            for number in 1..=3 {
                put(&backend, number, 0xff, "waiting", 0);
            }
            // The second is of the lane of the first.
            backend.execute("UPDATE webhook_deliveries SET lane = 'lane-1', pos = 2 WHERE lane = 'lane-2'");
            assert_eq!(store.wake_waiting(None).await.unwrap(), None);
            assert_eq!(
                backend.texts("lane || ' ' || pos", "webhook_deliveries WHERE state = 'due'"),
                ["lane-1 1", "lane-3 1"]
            );
        }
    });
}
