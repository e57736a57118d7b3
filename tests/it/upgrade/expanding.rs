//! Migrations expand first: no statement of one takes away, renames or narrows what nodes of the last release use. What a
//! version stops using, the next one removes, by name in [`CONTRACTED`].

use std::path::Path;

/// Migrations up to this one are in the releases kept so far.
const RELEASED: &str = "0012";

/// Statements that take away what the release before the last stopped using: file, and how the statement begins.
const CONTRACTED: [(&str, &str); 0] = [];

/// Words that never expand. `$` stands for the end of a statement.
const NARROWING: [&str; 10] = [
    "drop table",
    "drop column",
    "drop view",
    "drop function",
    "drop type",
    " rename ",
    " set not null",
    " set data type ",
    " type ",
    "truncate ",
];

/// The statements of a migration, without comments, in lower case, with single spaces.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join(" ").to_lowercase();
    let statements = text.split(';').map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|one| !one.is_empty()).collect()
}

/// Why a statement is none that only expands.
fn narrows(statement: &str) -> Option<String> {
    // A table that is new may be anything.
    if !(statement.starts_with("alter ") || statement.starts_with("drop ") || statement.starts_with("truncate ")) {
        return None;
    }
    // `ALTER COLUMN x TYPE y`, but not `ADD COLUMN type text`.
    let altered = statement.contains(" alter ");
    for word in NARROWING {
        if statement.contains(word) && (word != " type " || altered) {
            return Some(format!("`{}`", word.trim()));
        }
    }
    let columns = statement.split("add column").skip(1);
    for column in columns {
        let column = column.split(", add ").next().unwrap_or_default();
        if column.contains("not null") && !column.contains(" default ") {
            return Some(format!("a column that older nodes do not write: `{}`", column.trim()));
        }
    }
    let constrains =
        statement.contains("add constraint") || statement.contains("add check") || statement.contains("add unique");
    (constrains && !statement.contains("not valid"))
        .then(|| "a constraint that rows of older nodes may break".to_owned())
}

#[test]
fn migrations_since_the_last_release_only_expand() {
    let mut seen = 0;
    for kind in ["postgres", "sqlite"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(kind);
        for migration in std::fs::read_dir(folder).expect("migrations").flatten() {
            let name = migration.file_name().into_string().expect("a name");
            let sql = std::fs::read_to_string(migration.path().join("up.sql")).expect("up.sql");
            let number: String = name.chars().take_while(char::is_ascii_digit).collect();
            if number.as_str() <= RELEASED {
                continue;
            }
            seen += 1;
            for statement in statements(&sql) {
                let meant = CONTRACTED.iter().any(|(file, begins)| *file == name && statement.starts_with(begins));
                if let Some(why) = narrows(&statement).filter(|_| !meant) {
                    panic!("{kind}/{name}: {why} in: {statement}");
                }
            }
        }
    }
    println!("{seen} migrations since {RELEASED}");
}

#[test]
fn a_statement_that_narrows_is_noticed_and_one_that_expands_is_not() {
    for bad in [
        "ALTER TABLE calls DROP COLUMN metadata;",
        "ALTER TABLE calls RENAME COLUMN slot TO place;",
        "ALTER TABLE calls ALTER COLUMN seq TYPE integer",
        "ALTER TABLE calls ALTER seq SET DATA TYPE integer",
        "alter table calls\n  alter column slot\n  set not null;",
        "ALTER TABLE calls ADD COLUMN trace text NOT NULL;",
        "ALTER TABLE calls ADD COLUMN a text DEFAULT 'x' NOT NULL, ADD COLUMN b text NOT NULL",
        "DROP TABLE invitations;",
        "ALTER TABLE calls ADD CONSTRAINT few CHECK (seq < 10);",
    ] {
        assert!(statements(bad).iter().any(|one| narrows(one).is_some()), "{bad}");
    }
    for good in [
        "ALTER TABLE call_events ADD COLUMN trace text; -- never DROP TABLE calls",
        "ALTER TABLE calls ADD COLUMN b bigint NOT NULL DEFAULT 0, ADD COLUMN type text;",
        "CREATE TABLE webhooks (id uuid PRIMARY KEY, type text NOT NULL);",
        "DROP INDEX calls_by_age; CREATE INDEX calls_by_age ON calls (created_at, id)",
        "DROP POLICY seen ON calls",
    ] {
        assert!(statements(good).iter().all(|one| narrows(one).is_none()), "{good}");
    }
}
