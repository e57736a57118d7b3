//! What somebody has to do with a call, in one statement that costs the same whether there is such a call or not.

use diesel::{
    prelude::*,
    sql_types::{Bool, Nullable, Text},
};

use super::{
    MemberRole, Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    statement::Statement,
};
use crate::domain::{CallId, UserId};

/// How a user stands to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Has, or had, a part in it.
    pub took_part: bool,
    /// Their role in its group; `None`: no member, or it has no group.
    pub role: Option<MemberRole>,
}

impl Standing {
    /// To them there is no such call.
    pub fn is_none(self) -> bool {
        !self.took_part && self.role.is_none()
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Bool)]
    took_part: bool,
    #[diesel(sql_type = Nullable<Text>)]
    role: Option<String>,
}

fn standing(call: &CallId, user: &UserId) -> Statement {
    let sql = Statement::new("SELECT (SELECT p.open FROM participants p WHERE p.call_id = ").text(call.as_str());
    let sql = sql.sql(" AND p.user_id = ").text(user.as_str()).sql(") IS NOT NULL AS took_part, ");
    let sql = sql.sql("(SELECT m.role FROM calls c JOIN group_members m ON m.group_id = c.group_id WHERE c.id = ");
    sql.text(call.as_str()).sql(" AND m.user_id = ").text(user.as_str()).sql(") AS role")
}

impl Store {
    /// How the user stands to the call. Of a call that is not there nobody has anything.
    pub async fn standing(&self, call: &CallId, user: &UserId) -> Result<Standing, StoreError> {
        let (call, user) = (call.clone(), user.clone());
        let load = move |conn: &mut Conn| {
            let row: Row = with_conn!(conn, |c| standing(&call, &user).get_result(c)?);
            let unreadable = || Fault::Unreadable("a member's role");
            let role = row.role.map(|text| MemberRole::parse(&text).ok_or_else(unreadable)).transpose()?;
            Ok(Standing { took_part: row.took_part, role })
        };
        self.read(load).await
    }
}
