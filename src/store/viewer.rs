//! On whose behalf something is read, told to the database for one transaction.
//!
//! Owns how PostgreSQL is told (row-level security, migration 0008): what a statement forgets to leave out, the database
//! leaves out. Must never let a viewer outlive its transaction, nor write for one. Survives statements that fail, callers
//! that give up and connections that break: a transaction whose end is not known takes its connection with it.
//!
//! Connections for viewers have no identity of their own, so a read that names nobody sees nothing. The machinery has
//! connections of its own, which are the node's from their first statement on ([`super::connection::Purpose`]).

use diesel::connection::SimpleConnection;

use super::{
    Store,
    connection::Conn,
    error::{Fault, StoreError},
    postgres::PgConn,
};
use crate::domain::UserId;

/// On whose behalf something is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Sees their own calls and memberships, and the calls of their groups.
    User(UserId),
    /// Sees everything of every call.
    Admin,
}

impl From<&UserId> for Viewer {
    fn from(user: &UserId) -> Self {
        Self::User(user.clone())
    }
}

impl Viewer {
    /// Begins a transaction of the viewer's, in one message. Both names are set each time: whatever the session says.
    fn begin(&self) -> String {
        let (scope, user) = match self {
            Self::User(user) => ("user", user.as_str()),
            Self::Admin => ("admin", ""),
        };
        // As hexadecimal digits nothing in it can be taken for SQL.
        let user: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "BEGIN READ ONLY; SELECT set_config('carillon.scope', '{scope}', true), \
             set_config('carillon.user', convert_from(decode('{user}', 'hex'), 'UTF8'), true)"
        )
    }
}

/// Runs `work` as the viewer. Whatever it comes to, the connection is nobody's afterwards, or is said to be broken.
fn as_viewer<T>(
    conn: &mut Conn,
    viewer: &Viewer,
    work: &mut impl FnMut(&mut Conn) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let Conn::Pg(c) = conn else { return work(conn) };
    let done = match c.batch_execute(&viewer.begin()) {
        Ok(()) => work(conn),
        Err(error) => Err(error.into()),
    };
    let Conn::Pg(c) = conn else { return done };
    end(c, done.is_ok())?;
    done
}

fn end(c: &mut PgConn, well: bool) -> Result<(), Fault> {
    c.batch_execute(if well { "COMMIT" } else { "ROLLBACK" }).map_err(|_| Fault::Broken)
}

impl Store {
    /// Reads on behalf of the viewer: `work` sees what the database lets them see, and can write nothing. It may run more
    /// than once. SQLite, which is one program's file, has no such wall.
    pub(super) async fn read_as<T, F>(&self, viewer: &Viewer, mut work: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut Conn) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        let Some(viewers) = &self.inner.viewers else { return self.read(work).await };
        let viewer = viewer.clone();
        viewers.run(move |conn: &mut Conn| as_viewer(conn, &viewer, &mut work)).await
    }

    /// For tests of the wall: runs a statement that selects the text `line`, as [`Store`] would for the viewer, or on
    /// such a connection without a word on whose behalf.
    #[cfg(feature = "failpoints")]
    pub async fn probe(&self, viewer: Option<&Viewer>, sql: &str) -> Result<Vec<String>, StoreError> {
        use diesel::prelude::*;

        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            line: String,
        }
        let sql = sql.to_owned();
        let ask = move |conn: &mut Conn| {
            let query = diesel::sql_query(sql.as_str());
            let rows: Vec<Row> = super::connection::with_conn!(conn, |c| query.load(c)?);
            Ok(rows.into_iter().map(|row| row.line).collect())
        };
        match (viewer, &self.inner.viewers) {
            (None, Some(viewers)) => viewers.run(ask).await,
            (None, None) => self.read(ask).await,
            (Some(viewer), _) => self.read_as(viewer, ask).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_user_is_sql() {
        let user = UserId::new("o'; DROP TABLE calls; --ü").unwrap();
        let sql = Viewer::from(&user).begin();
        assert!(!sql.contains("DROP") && sql.contains("decode('6f273b2044524f50"), "{sql}");
        assert!(Viewer::Admin.begin().contains("decode('', 'hex')"));
    }
}
