//! `carillon sweep` on SQLite and on PostgreSQL: a dry run, the same for real, and again; the list.

use super::{a_forgotten_ring, assert_done_once, carillon_sweep, sweep_until};
use crate::support::{TestCluster, cluster::ClusterBuilder};

async fn a_sweep_by_hand(cluster: ClusterBuilder) {
    let (cluster, alice, bob, call) = a_forgotten_ring(cluster).await;
    let dry = sweep_until(&cluster, &["stale_ringing", "--dry-run"], |swept| swept.ended("done; found 1")).await;
    assert_eq!(dry.code, 0);
    assert!(
        dry.summary.starts_with("sweep=stale_ringing ") && dry.summary.contains(" by=hand dry_run=true "),
        "{dry:?}"
    );
    let line = format!("call.id={call} what=end_ring why=\"the ring's deadline has passed\" age_secs=");
    assert!(dry.lines.len() == 1 && dry.lines[0].starts_with(&line), "{dry:?}");
    assert!(dry.lines[0].ends_with("outcome=dry_run"), "{dry:?}");
    assert_eq!(alice.get(&call).await["status"], "ringing", "a dry run changes nothing");

    let swept = carillon_sweep(&cluster, &["stale_ringing"]).await;
    assert!(swept.code == 0 && swept.ended("done; found 1, acted 1, failed 0"), "{swept:?}");
    assert!(swept.lines.len() == 1 && swept.lines[0].ends_with("outcome=done"), "{swept:?}");
    for side in [&alice, &bob] {
        side.expect_end(&call, "no_answer").await;
    }
    let again = carillon_sweep(&cluster, &["stale_ringing"]).await;
    assert!(again.code == 0 && again.ended("done; found 0") && again.lines.is_empty(), "twice is once: {again:?}");
    assert_done_once(&cluster, "stale_ringing", "end_ring", &call);

    let list = carillon_sweep(&cluster, &["--list"]).await;
    let all = format!("{}\n{}", list.lines.join("\n"), list.summary);
    for sweeper in carillon::actors::sweepers::NAMES {
        let what = carillon::actors::sweepers::what_of(sweeper).unwrap();
        assert!(all.contains(&format!("{sweeper}: ")) && all.contains(what), "{all}");
    }
    assert!(all.contains("by=hand dry_run=false outcome=done found=1 acted=1 failed=0"), "{all}");
    assert!(all.contains("by=hand dry_run=true outcome=done found=1 acted=0 failed=0"), "{all}");
    let wrong = carillon_sweep(&cluster, &["dust"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

#[tokio::test]
async fn a_sweep_by_hand_on_sqlite_reports_what_it_does_and_a_dry_run_does_nothing() {
    a_sweep_by_hand(TestCluster::embedded()).await;
}

#[tokio::test]
async fn a_sweep_by_hand_on_postgres_reports_what_it_does_and_a_dry_run_does_nothing() {
    a_sweep_by_hand(TestCluster::two_nodes()).await;
}
