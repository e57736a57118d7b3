//! No table without its wall, now or later.

use crate::store::{
    backend::Backend,
    run,
    scene::{begin, node, opening},
};

/// Tables without row-level security, and why. Think thrice before adding to it.
const EXCEPTIONS: [(&str, &str); 1] =
    [("__diesel_schema_migrations", "names of migrations, read before anything else")];

/// Tables that hold nothing but what anybody with an identity may see, or that no user reads.
const NOT_FOR_USERS: [&str; 10] = [
    "slots",
    "service_keys",
    "sweepers",
    "sweep_requests",
    "sweep_runs",
    "sweep_actions",
    "audit_log",
    "livekit_events",
    "webhooks",
    "webhook_deliveries",
];

/// What is wrong with the tables.
fn faults(backend: &Backend) -> Vec<String> {
    let tables = "pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace";
    let all = backend.texts("relname", tables);
    assert!(all.len() > 15, "{all:?}");
    let excepted = |table: &str| EXCEPTIONS.iter().any(|(exception, _)| *exception == table);
    let mut faults = Vec::new();
    for table in all.iter().filter(|table| !excepted(table)) {
        let one = |what: &str| backend.number(what, &format!("{tables} AND relname = '{table}'"));
        if one("(relrowsecurity AND relforcerowsecurity)::int") == 0 {
            faults.push(format!("{table}: row-level security is not enabled and forced"));
        }
        if one("pg_has_role('carillon_app', relowner, 'MEMBER')::int") == 1 {
            faults.push(format!("{table}: owned by the role that serves"));
        }
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            if one(&format!("has_table_privilege('carillon_app', oid, '{right}')::int")) == 0 {
                faults.push(format!("{table}: the role that serves lacks {right}"));
            }
        }
        for right in ["TRUNCATE", "REFERENCES", "TRIGGER"] {
            if one(&format!("has_table_privilege('carillon_app', oid, '{right}')::int")) == 1 {
                faults.push(format!("{table}: the role that serves has {right}"));
            }
        }
        // Each condition begins with who may see without it, so that the machinery never comes to the rest of it.
        let policies = backend.texts(
            "policyname || ': ' || coalesce(qual, with_check)",
            &format!("pg_policies WHERE tablename = '{table}'"),
        );
        for policy in &policies {
            let guarded = policy.contains("carillon_is_node()") || policy.contains("(carillon_reads_all() OR ");
            if !guarded {
                faults.push(format!("{table}: {policy}"));
            }
        }
        if !policies.iter().any(|policy| policy.starts_with("sees: ")) {
            faults.push(format!("{table}: nobody sees it"));
        }
    }
    faults
}

#[test]
fn every_table_is_walled() {
    run(async {
        let backend = Backend::postgres();
        drop(backend.store().await);
        assert_eq!(faults(&backend), [""; 0]);
        for table in NOT_FOR_USERS {
            let sees =
                backend.texts("qual", &format!("pg_policies WHERE tablename = '{table}' AND policyname = 'sees'"));
            assert_eq!(sees, ["carillon_is_node()"], "{table}");
        }
        // One that is forgotten is found.
        backend.execute("CREATE TABLE forgotten (user_id text)");
        assert!(faults(&backend).iter().any(|fault| fault.starts_with("forgotten: row-level security")));
    });
}

#[test]
fn who_says_nothing_sees_nothing_and_writes_nothing_in_any_table() {
    run(async {
        let backend = Backend::postgres();
        let store = backend.store().await;
        let (commit, _) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
        store.commit(commit).await.unwrap();
        let Backend::Postgres(database) = &backend else { unreachable!() };
        let (client, io) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(io);
        let tables = backend.texts("relname", "pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace");
        for table in tables.iter().filter(|table| !table.starts_with("__diesel")) {
            let rows = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get::<_, i64>(0);
            let touched = client.execute(&format!("DELETE FROM {table}"), &[]).await.unwrap();
            assert_eq!((rows, touched), (0, 0), "{table}");
        }
        assert!(client.execute("INSERT INTO slots VALUES ('s', 'c1')", &[]).await.is_err());
        assert!(client.execute("INSERT INTO participants SELECT * FROM participants", &[]).await.is_ok(), "of nothing");
        for table in ["calls", "call_events", "participants", "invitations", "command_results", "slots"] {
            assert!(backend.count(table) > 0, "{table} has rows");
        }
        // Nor can it take the wall down.
        for forbidden in [
            "ALTER TABLE calls DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE calls NO FORCE ROW LEVEL SECURITY",
            "DROP POLICY sees ON calls",
            "CREATE POLICY all_of_it ON calls USING (true)",
            "CREATE TABLE mine (n int)",
            "TRUNCATE calls",
            "SET ROLE carillon_owner",
            "INSERT INTO __diesel_schema_migrations VALUES ('x')",
        ] {
            assert!(client.batch_execute(forbidden).await.is_err(), "{forbidden}");
        }
        assert!(
            client.batch_execute("SET row_security = off; SELECT * FROM calls").await.is_err(),
            "refused, not shown"
        );
    });
}

#[test]
fn not_even_the_node_changes_the_audit_log() {
    run(async {
        let backend = Backend::postgres();
        drop(backend.store().await);
        backend.execute(
            "INSERT INTO audit_log (id, at, actor_kind, actor, action, target_kind, target, outcome) \
             VALUES (gen_random_uuid(), now(), 'user', 'u', 'a', 'k', 't', 'done')",
        );
        let Backend::Postgres(database) = &backend else { unreachable!() };
        for url in [database.url(), database.owner_url()] {
            let (client, io) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(io);
            client.batch_execute("SET carillon.scope = 'node'").await.unwrap();
            assert_eq!(client.query("SELECT FROM audit_log", &[]).await.unwrap().len(), 1);
            assert_eq!(client.execute("UPDATE audit_log SET actor = 'v'", &[]).await.unwrap(), 0);
            assert_eq!(client.execute("DELETE FROM audit_log", &[]).await.unwrap(), 0);
        }
    });
}
