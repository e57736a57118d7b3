//! What became of a user's calls in a period, counted.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Text},
};

use super::{
    Store, Viewer,
    connection::{Conn, with_conn},
    error::StoreError,
    history_sql::STILL_THEIRS,
    statement::Statement,
    types::unsigned,
};
use crate::domain::{Timestamp, UserId};

/// Calls of one status that the user came to in one hour of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTally {
    /// As the protocol names it.
    pub status: String,
    /// 0 to 23, UTC.
    pub hour: u8,
    pub calls: u64,
    /// How many of them have ended after somebody had answered, and for how long these lasted together, in milliseconds.
    pub talks: u64,
    pub talked_ms: u64,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    hour: i64,
    #[diesel(sql_type = BigInt)]
    calls: i64,
    #[diesel(sql_type = BigInt)]
    talks: i64,
    #[diesel(sql_type = BigInt)]
    talked_ms: i64,
}

fn tally(user: &UserId, since: Timestamp, until: Timestamp) -> Statement {
    let sql = Statement::new("SELECT c.status, ")
        .either(
            "extract(hour FROM p.invited_at AT TIME ZONE 'UTC')::bigint",
            "(p.invited_at / 3600000000) % 24",
        )
        .sql(" AS hour, count(*) AS calls, count(c.ended_at - c.started_at) AS talks, coalesce(sum(")
        .either(
            "(extract(epoch FROM c.ended_at - c.started_at) * 1000)::bigint), 0)::bigint",
            "(c.ended_at - c.started_at) / 1000), 0)",
        )
        .sql(" AS talked_ms FROM participants p")
        // By key, row for row: a join might read all calls there are.
        .either(
            " CROSS JOIN LATERAL (SELECT x.status, x.started_at, x.ended_at FROM calls x WHERE x.id = p.call_id LIMIT 1) c",
            " JOIN calls c ON c.id = p.call_id",
        );
    let sql = sql.sql(" WHERE p.user_id = ").text(user.as_str()).sql(" AND p.invited_at >= ").time(since);
    sql.sql(" AND p.invited_at < ").time(until).sql(STILL_THEIRS).sql(" GROUP BY 1, 2")
}

impl Store {
    /// The user's calls from `since` to before `until`, counted by status and hour. Costs as much as there are calls in
    /// that time.
    pub async fn tally(&self, user: &UserId, since: Timestamp, until: Timestamp) -> Result<Vec<CallTally>, StoreError> {
        let viewer = Viewer::from(user);
        let user = user.clone();
        let load = move |conn: &mut Conn| {
            let rows: Vec<Row> = with_conn!(conn, |c| tally(&user, since, until).load(c)?);
            let tallies = rows.into_iter().map(|row| CallTally {
                status: row.status,
                hour: u8::try_from(row.hour.rem_euclid(24)).unwrap_or(0),
                calls: unsigned(row.calls),
                talks: unsigned(row.talks),
                talked_ms: unsigned(row.talked_ms),
            });
            Ok(tallies.collect())
        };
        self.read_as(&viewer, load).await
    }

    /// How the database would carry out [`Store::tally`].
    pub async fn explain_tally(
        &self,
        user: &UserId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let viewer = Viewer::from(user);
        let user = user.clone();
        self.read_as(&viewer, move |conn: &mut Conn| tally(&user, since, until).explain(conn)).await
    }
}
