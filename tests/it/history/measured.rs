//! What looking back costs beside a million calls. Not part of the suite:
//! `cargo test --release --test it -- --ignored --nocapture looking_back`.

use std::time::{Duration, Instant};

use carillon::store::{Store, Viewer};

use super::{
    plans::{assert_nothing_scans, every_list, middle, viewer},
    seed::{begun, id, seed},
};
use crate::store::{
    backend::Backend,
    scene::{call_id, user},
};

const CALLS: usize = 1_000_000;
/// Enough for a 99th percentile that is not the worst one.
const TIMES: usize = 300;
/// What takes long is asked less often.
const MOST: Duration = Duration::from_secs(4);

fn print(name: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    println!("{name:<45} p50 {:>8.2} ms   p99 {:>8.2} ms   of {}", at(50), at(99), took.len());
}

async fn timed<T>(name: &str, times: usize, mut ask: impl AsyncFnMut(usize) -> T) {
    let mut took = Vec::with_capacity(times);
    let first = Instant::now();
    for n in 0..times {
        if first.elapsed() > MOST {
            break;
        }
        let began = Instant::now();
        ask(n).await;
        took.push(began.elapsed());
    }
    print(name, took);
}

async fn measure(store: &Store) {
    for (name, list) in every_list(CALLS) {
        let viewer = viewer(&list);
        let ask = async |_| store.history(&viewer, &list, None, 21).await.unwrap();
        timed(&format!("{name}: first page"), TIMES, ask).await;
        let middle = middle(CALLS);
        let ask = async |_| store.history(&viewer, &list, Some(&middle), 21).await.unwrap();
        timed(&format!("{name}: page in the middle"), TIMES, ask).await;
    }
    for (name, list) in every_list(CALLS).into_iter().filter(|(name, _)| !name.contains(',')) {
        let viewer = viewer(&list);
        let entries = store.history_count(&viewer, &list).await.unwrap();
        let ask = async |_| store.history_count(&viewer, &list).await.unwrap();
        timed(&format!("{name}: total of {entries}"), TIMES / 10, ask).await;
    }
    timed("active", TIMES, async |n| store.active_calls(&user(&format!("a{n}"))).await.unwrap()).await;
    let (full, heavy) = (|n: usize| call_id(&id(n * 100)), Viewer::from(&user("heavy")));
    timed("timeline", TIMES, async |n| store.timeline(&heavy, &full(n), 0, 500).await.unwrap()).await;
    timed("quality", TIMES, async |n| store.quality_of(&heavy, &full(n)).await.unwrap()).await;
    for (name, calls) in [("a17", CALLS), ("heavy", CALLS), ("heavy", 86_400)] {
        let entries: u64 =
            store.tally(&user(name), begun(0), begun(calls)).await.unwrap().iter().map(|t| t.calls).sum();
        let ask = async |_| store.tally(&user(name), begun(0), begun(calls)).await.unwrap();
        timed(&format!("statistics over {entries} calls"), TIMES / 10, ask).await;
    }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_looking_back_beside_a_million_calls() {
    let backend = Backend::postgres();
    let store = backend.store().await;
    let began = Instant::now();
    seed(&backend, CALLS);
    let (calls, parts) = (backend.count("calls"), backend.count("participants"));
    println!("{calls} calls, {parts} participants, made in {:?}", began.elapsed());
    assert_nothing_scans(&store, CALLS).await;
    measure(&store).await;
}
