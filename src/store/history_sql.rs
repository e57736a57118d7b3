//! The statements of lists: what is looked at, what is passed over, and what is told of each call.
//!
//! What else is known of a call is looked up row by row, in subqueries that the planner cannot turn into a join over a
//! whole table.

use super::{
    history::{Direction, HistoryOf, HistoryQuery, Place},
    statement::Statement,
};
use crate::domain::UserId;

/// The calls of `active`, at most: one user is in a handful.
const MOST_ACTIVE: usize = 100;

/// Rows of an index that one page with filters looks at, at most. Larger: a filter that hardly any call meets holds a
/// connection for longer (some 3 µs a row and filter); smaller: such lists take more pages, most of them empty.
pub const MOST_LOOKED_AT: usize = 5000;

/// Of the participants `p`: not those who were rung as one of a group and never came, and belong to the group no more.
/// Who took part keeps what they took part in; who was asked in by name (later than the call began) was meant themselves.
pub(super) const STILL_THEIRS: &str = " AND (p.joined_at IS NOT NULL OR (SELECT c.group_id FROM calls c \
    WHERE c.id = p.call_id AND c.created_at = p.invited_at) IS NULL OR (SELECT m.role FROM calls c JOIN group_members m \
    ON m.group_id = c.group_id WHERE c.id = p.call_id AND m.user_id = p.user_id) IS NOT NULL)";

/// The calls of `page` with all their participants.
const WITH_PEOPLE: &str = ") SELECT g.place, c.id, c.call_type, c.mode, c.status AS call_status, c.end_reason, \
    c.ended_by, c.group_id, c.initiator, c.is_group, c.peak_participants, c.created_at, c.started_at, c.ended_at, \
    q.user_id, q.role, q.status, q.device_id, q.invited_at, q.joined_at, q.left_at, q.leave_reason, q.earlier_stays_ms \
    FROM page g JOIN calls c ON c.id = g.call_id JOIN participants q ON q.call_id = g.call_id \
    ORDER BY g.place DESC, g.call_id DESC, q.user_id <> c.initiator, q.invited_at, q.user_id";

/// What the filters see of the rows that a page looks at, and the index that it walks.
struct Walk {
    columns: &'static str,
    from: &'static str,
    since: &'static str,
    until: &'static str,
    after: &'static str,
    order: &'static str,
    /// The place of a row.
    place: &'static str,
}

const OF_USER: Walk = Walk {
    columns: "SELECT i.call_id, i.user_id, i.status, i.invited_at, i.joined_at FROM ",
    from: "participants i WHERE i.user_id = ",
    since: " AND i.invited_at >= ",
    until: " AND i.invited_at < ",
    after: " AND (i.invited_at, i.call_id) < (",
    order: " ORDER BY i.invited_at DESC, i.call_id DESC",
    place: "SELECT i.invited_at AS place, i.call_id FROM ",
};

const OF_GROUP: Walk = Walk {
    columns: "SELECT i.id, i.initiator, i.status, i.created_at FROM ",
    from: "calls i WHERE i.group_id = ",
    since: " AND i.created_at >= ",
    until: " AND i.created_at < ",
    after: " AND (i.created_at, i.id) < (",
    order: " ORDER BY i.created_at DESC, i.id DESC",
    place: "SELECT i.created_at AS place, i.id AS call_id FROM ",
};

impl HistoryQuery {
    fn walk(&self) -> (&'static Walk, &str) {
        match &self.of {
            HistoryOf::User => (&OF_USER, self.user.as_str()),
            HistoryOf::Group(group) => (&OF_GROUP, group.as_str()),
        }
    }

    /// Whether calls may be passed over that stand in the index. The few that a user does not see any more do not count.
    pub(super) fn is_filtered(&self) -> bool {
        self.direction.is_some() || self.status.is_some() || self.missed.is_some() || self.with.is_some()
    }

    /// Rows of the index within the period and after the place.
    fn rows(&self, columns: &'static str, after: Option<&Place>) -> Statement {
        let (walk, of) = self.walk();
        let mut sql = Statement::new(columns).sql(walk.from).text(of);
        if let Some(at) = self.since {
            sql = sql.sql(walk.since).time(at);
        }
        if let Some(at) = self.until {
            sql = sql.sql(walk.until).time(at);
        }
        if let Some(Place { at, call }) = after {
            sql = sql.sql(walk.after).time(*at).sql(", ").text(call.as_str()).sql(")");
        }
        sql
    }

    /// What a page is taken from; without the order. `most`: of the rows that are looked at.
    fn matching(&self, columns: (&'static str, &'static str), after: Option<&Place>, most: Option<usize>) -> Statement {
        let (walk, _) = self.walk();
        let mut rows = self.rows(walk.columns, after);
        if let Some(most) = most {
            rows = rows.sql(walk.order).sql(" LIMIT ").number(as_limit(most));
        }
        match &self.of {
            HistoryOf::User => self.of_user(Statement::new("SELECT ").sql(columns.0).sql(" FROM (").then(rows)),
            HistoryOf::Group(_) => self.of_group(Statement::new("SELECT ").sql(columns.1).sql(" FROM (").then(rows)),
        }
    }

    fn of_user(&self, sql: Statement) -> Statement {
        let initiator = " AND (SELECT c.initiator FROM calls c WHERE c.id = p.call_id)";
        let mut sql = sql.sql(") p WHERE 1 = 1").sql(STILL_THEIRS);
        sql = match self.direction {
            Some(Direction::Outgoing) => sql.sql(initiator).sql(" = p.user_id"),
            Some(Direction::Incoming) => sql.sql(initiator).sql(" <> p.user_id"),
            None => sql,
        };
        if let Some(status) = self.status {
            sql = sql.sql(" AND (SELECT c.status FROM calls c WHERE c.id = p.call_id) = ").text(status.as_str());
        }
        sql = match self.missed {
            Some(true) => sql.sql(" AND p.status = 'missed'"),
            Some(false) => sql.sql(" AND p.status <> 'missed'"),
            None => sql,
        };
        self.company(sql, "p.call_id")
    }

    fn of_group(&self, sql: Statement) -> Statement {
        let part = " AND (SELECT p.status FROM participants p WHERE p.call_id = c.id AND p.user_id = ";
        let mut sql = sql.sql(") c WHERE 1 = 1");
        sql = match self.direction {
            Some(Direction::Outgoing) => sql.sql(" AND c.initiator = ").text(self.user.as_str()),
            Some(Direction::Incoming) => {
                let others = sql.sql(" AND c.initiator <> ").text(self.user.as_str());
                others.sql(part).text(self.user.as_str()).sql(") IS NOT NULL")
            }
            None => sql,
        };
        if let Some(status) = self.status {
            sql = sql.sql(" AND c.status = ").text(status.as_str());
        }
        sql = match self.missed {
            Some(true) => sql.sql(part).text(self.user.as_str()).sql(") = 'missed'"),
            Some(false) => sql.sql(part).text(self.user.as_str()).sql(") <> 'missed'"),
            None => sql,
        };
        self.company(sql, "c.id")
    }

    fn company(&self, sql: Statement, call: &'static str) -> Statement {
        let Some(with) = &self.with else { return sql };
        let sql = sql.sql(" AND (SELECT w.open FROM participants w WHERE w.call_id = ").sql(call);
        sql.sql(" AND w.user_id = ").text(with.as_str()).sql(") IS NOT NULL")
    }

    pub(super) fn page(&self, after: Option<&Place>, limit: usize, most: usize) -> Statement {
        let columns = ("p.call_id, p.invited_at AS place", "c.id AS call_id, c.created_at AS place");
        let order = match self.of {
            HistoryOf::User => " ORDER BY p.invited_at DESC, p.call_id DESC LIMIT ",
            HistoryOf::Group(_) => " ORDER BY c.created_at DESC, c.id DESC LIMIT ",
        };
        let most = self.is_filtered().then_some(most);
        let page = Statement::new("WITH page AS (").then(self.matching(columns, after, most)).sql(order);
        page.number(as_limit(limit)).sql(WITH_PEOPLE)
    }

    /// The last row that a page with filters looks at, if there are that many.
    pub(super) fn last_looked_at(&self, after: Option<&Place>, most: usize) -> Statement {
        let (walk, _) = self.walk();
        let sql = self.rows(walk.place, after).sql(walk.order).sql(" LIMIT 1 OFFSET ");
        sql.number(as_limit(most.saturating_sub(1)))
    }

    pub(super) fn count(&self) -> Statement {
        self.matching(("count(*) AS count", "count(*) AS count"), None, None)
    }
}

fn as_limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The open calls of a user.
pub(super) fn active(user: &UserId) -> Statement {
    let page =
        "WITH page AS (SELECT p.call_id, p.invited_at AS place FROM participants p WHERE p.open AND p.user_id = ";
    let page = Statement::new(page).text(user.as_str()).sql(" ORDER BY p.invited_at DESC, p.call_id DESC LIMIT ");
    page.number(as_limit(MOST_ACTIVE)).sql(WITH_PEOPLE)
}
