//! What a sweeper has done is said in the same words in the log, in the tables and by `carillon sweep`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{a_forgotten_ring, carillon_sweep, fields, logged, sweep_until};
use crate::support::{TestCluster, postgres::Database};

/// What the form of the log adds to each line.
const OF_THE_FORM: [&str; 5] = ["timestamp", "level", "target", "message", "span"];

type Fields = BTreeMap<String, String>;

/// The fields of a log line as text. Asserts that none is empty.
fn said(line: &Value) -> Fields {
    let own = line.as_object().unwrap().iter().filter(|(name, _)| !OF_THE_FORM.contains(&name.as_str()));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let said: Fields = own.map(|(name, value)| (name.clone(), text(value))).collect();
    assert!(
        said.values().all(|value| !value.is_empty() && value != "null"),
        "what there is none of is left out: {line}"
    );
    said
}

/// The columns of the one row, by the names that the log has for them; what is null is left out.
fn row(database: &Database, columns: &[(&str, &str)], from: &str) -> Fields {
    let list: Vec<&str> = columns.iter().map(|(_, column)| *column).collect();
    let rows = database.sql(&format!("SELECT {} FROM {from}", list.join(", ")));
    assert_eq!(rows.len(), 1, "{from}: {rows:?}");
    let named =
        columns.iter().zip(&rows[0]).filter_map(|((name, _), value)| Some(((*name).to_owned(), value.clone()?)));
    named.collect()
}

fn one(mut lines: Vec<Value>, run: &str) -> Fields {
    lines.retain(|line| line["run.id"] == run);
    assert_eq!(lines.len(), 1, "one line of run {run}: {lines:?}");
    said(&lines[0])
}

/// The same but for these.
fn without(fields: &Fields, names: &[&str]) -> Fields {
    fields.iter().filter(|(name, _)| !names.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn assert_same_words(cluster: &TestCluster, sweeper: &str, swept: &super::Swept) {
    let database = cluster.database().unwrap();
    let printed = fields(&swept.summary);
    let run = printed["run.id"].clone();
    // The time it took is measured twice.
    let finished = one(logged(cluster, "sweep finished", sweeper), &run);
    assert!(printed.contains_key("took_ms") && finished.contains_key("took_ms"), "{printed:?} {finished:?}");
    assert_eq!(without(&printed, &["took_ms"]), without(&finished, &["took_ms"]));
    let columns = [
        ("sweep", "sweeper"),
        ("node.id", "node"),
        ("run.id", "id::text"),
        ("by", "CASE WHEN by_hand THEN 'hand' ELSE 'schedule' END"),
        ("dry_run", "dry_run::text"),
        ("outcome", "outcome"),
        ("found", "found::text"),
        ("acted", "acted::text"),
        ("failed", "failed::text"),
        ("note", "note"),
    ];
    assert_eq!(row(database, &columns, &format!("sweep_runs WHERE id = '{run}'")), without(&finished, &["took_ms"]));
    if swept.lines.is_empty() {
        return;
    }
    let action = one(logged(cluster, "swept", sweeper), &run);
    // What is the same for the whole run stands in the run's line.
    let of_run = ["sweep", "node.id", "run.id", "dry_run"];
    assert_eq!(fields(&swept.lines[0]), without(&action, &of_run));
    for name in of_run {
        assert_eq!(action[name], finished[name], "{name}");
    }
    let columns = [
        ("call.id", "call_id"),
        ("user.id", "user_id"),
        ("recording.id", "recording_id"),
        ("what", "what"),
        ("why", "why"),
        ("age_secs", "(age_ms / 1000)::text"),
        ("outcome", "outcome"),
    ];
    assert_eq!(row(database, &columns, &format!("sweep_actions WHERE run = '{run}'")), without(&action, &of_run));
}

#[tokio::test]
async fn log_table_and_command_line_say_the_same_of_an_action_and_of_a_run() {
    let (cluster, alice, bob, _call) = a_forgotten_ring(TestCluster::two_nodes()).await;
    let dry = sweep_until(&cluster, &["stale_ringing", "--dry-run"], |swept| swept.ended("done; found 1")).await;
    let swept = carillon_sweep(&cluster, &["stale_ringing"]).await;
    let nothing = carillon_sweep(&cluster, &["stale_ringing"]).await;
    assert!(swept.lines.len() == 1 && nothing.lines.is_empty(), "{swept:?} {nothing:?}");
    for swept in [&dry, &swept, &nothing] {
        assert_same_words(&cluster, "stale_ringing", swept);
    }
    // A run that was stopped says why, in a field of its own.
    let database = cluster.database().unwrap();
    database.sql(
        "INSERT INTO nodes (id, version, started_at, lease_until) VALUES ('deaf', '1', now(), now() + interval '1 hour')",
    );
    let call = alice.call_through(&bob).await;
    database.sql("UPDATE participants SET joined_at = joined_at - interval '1 hour' WHERE open");
    let halted = carillon_sweep(&cluster, &["left_behind"]).await;
    database.sql("DELETE FROM nodes WHERE id = 'deaf'");
    assert!(halted.ended("could_not_ask: node deaf does not listen on the bus"), "{halted:?}");
    assert_same_words(&cluster, "left_behind", &halted);
    bob.act("call:end", &call).await;
}
