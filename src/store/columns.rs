//! Rows for PostgreSQL as columns: what [`super::commit_postgres`] hands over in one statement.

use diesel::{
    pg::Pg,
    query_builder::AstPass,
    result::QueryResult,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text},
};

use super::types::{
    StoredId, StoredTime,
    sql::{DbTime, DbUuid},
};

/// Up to here rows are spelled out: taking arrays apart costs as much as writing a few rows. Higher: more texts to keep
/// prepared, one for each number of rows.
const FEW_ROWS: usize = 2;

macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $rust:ty => $sql:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name<'a> { $(pub $field: Vec<$rust>),* }

        impl<'a> $name<'a> {
            /// `(VALUES ($1, …), …) AS alias (column, …)` for few rows, `unnest($1, …) AS alias (column, …)` for many.
            pub fn source<'b>(&'b self, rows: usize, alias: &str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                if rows <= FEW_ROWS {
                    let mut opening = "(VALUES (";
                    for row in 0..rows {
                        out.push_sql(opening);
                        let mut comma = "";
                        $(
                            out.push_sql(comma);
                            out.push_bind_param::<$sql, _>(&self.$field[row])?;
                            comma = ", ";
                        )*
                        let _ = comma;
                        opening = "), (";
                    }
                    out.push_sql("))");
                } else {
                    let mut opening = "unnest(";
                    $(
                        out.push_sql(opening);
                        out.push_bind_param::<Array<$sql>, _>(&self.$field)?;
                        opening = ", ";
                    )*
                    let _ = opening;
                    out.push_sql(")");
                }
                out.push_sql(" AS ");
                out.push_sql(alias);
                out.push_sql(concat!(" (", columns!(@names $($field),*), ")"));
                Ok(())
            }
        }
    };
    (@names $first:ident $(, $rest:ident)*) => { concat!(stringify!($first) $(, ", ", stringify!($rest))*) };
}

columns!(
    /// One of each per commit.
    Commits {
        id: &'a str => Text,
        owner_node: &'a str => Text,
        epoch: i64 => BigInt,
        seq: i64 => BigInt,
        prev_seq: i64 => BigInt,
        open: bool => Bool,
        slot: Option<&'a str> => Nullable<Text>,
        status: &'a str => Text,
        call_type: &'a str => Text,
        mode: &'a str => Text,
        group_id: Option<&'a str> => Nullable<Text>,
        initiator: &'a str => Text,
        is_group: bool => Bool,
        max_participants: i32 => Integer,
        peak_participants: i32 => Integer,
        created_at: StoredTime => DbTime,
        started_at: Option<StoredTime> => Nullable<DbTime>,
        ended_at: Option<StoredTime> => Nullable<DbTime>,
        end_reason: Option<&'a str> => Nullable<Text>,
        ended_by: Option<&'a str> => Nullable<Text>,
        metadata: Option<&'a str> => Nullable<Text>,
        command_id: StoredId => DbUuid,
        kind: &'a str => Text,
        by_user: Option<&'a str> => Nullable<Text>,
        outcome: Option<&'a str> => Nullable<Text>,
        at: StoredTime => DbTime,
    }
);

columns!(
    /// One of each per event.
    Events {
        call_id: &'a str => Text,
        seq: i64 => BigInt,
        at: StoredTime => DbTime,
        kind: &'a str => Text,
        payload: &'a str => Text,
        node: &'a str => Text,
        epoch: i64 => BigInt,
        command_id: StoredId => DbUuid,
        trace: Option<StoredId> => Nullable<DbUuid>,
    }
);

columns!(
    /// One of each per participant who differs.
    Participants {
        call_id: &'a str => Text,
        user_id: &'a str => Text,
        role: &'a str => Text,
        status: &'a str => Text,
        open: bool => Bool,
        device_id: Option<&'a str> => Nullable<Text>,
        ringing_devices: &'a str => Text,
        invited_by: Option<&'a str> => Nullable<Text>,
        invited_at: StoredTime => DbTime,
        joined_at: Option<StoredTime> => Nullable<DbTime>,
        left_at: Option<StoredTime> => Nullable<DbTime>,
        leave_reason: Option<&'a str> => Nullable<Text>,
        earlier_stays_ms: i64 => BigInt,
    }
);

columns!(
    /// One of each per ring that begins.
    Invitations {
        call_id: &'a str => Text,
        user_id: &'a str => Text,
        seq: i64 => BigInt,
        invited_by: &'a str => Text,
        at: StoredTime => DbTime,
        deadline: Option<StoredTime> => Nullable<DbTime>,
        outcome: &'a str => Text,
        answered_at: Option<StoredTime> => Nullable<DbTime>,
        device_id: Option<&'a str> => Nullable<Text>,
    }
);

columns!(
    /// One of each per ring of an earlier commit that ends.
    Answers {
        call_id: &'a str => Text,
        user_id: &'a str => Text,
        outcome: &'a str => Text,
        answered_at: StoredTime => DbTime,
        device_id: Option<&'a str> => Nullable<Text>,
    }
);

columns!(
    /// One of each per recording that begins.
    Recordings {
        id: &'a str => Text,
        call_id: &'a str => Text,
        created_by: &'a str => Text,
        created_at: StoredTime => DbTime,
        layout: &'a str => Text,
        resolution: &'a str => Text,
        audio_only: bool => Bool,
        format: &'a str => Text,
        retention_days: i32 => Integer,
    }
);

columns!(
    /// One of each per recording that is to stop.
    RecordingStops {
        call_id: &'a str => Text,
        id: &'a str => Text,
        stop_at: StoredTime => DbTime,
    }
);

columns!(
    /// One of each per recording and user who may see it.
    RecordingParts {
        call_id: &'a str => Text,
        user_id: &'a str => Text,
        created_at: StoredTime => DbTime,
        recording_id: &'a str => Text,
    }
);

columns!(
    /// One of each per event and webhook that is to hear of it.
    Outgoings {
        id: StoredId => DbUuid,
        webhook_id: StoredId => DbUuid,
        event: &'a str => Text,
        lane: &'a str => Text,
        pos: i64 => BigInt,
        user_id: Option<&'a str> => Nullable<Text>,
        created_at: StoredTime => DbTime,
        expires_at: Option<StoredTime> => Nullable<DbTime>,
        payload: &'a str => Text,
        first: bool => Bool,
    }
);
