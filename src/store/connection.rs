//! One connection to one of the two databases, and the address it is made from.
//!
//! Must never show the address: it holds a password.

use std::path::PathBuf;

use diesel::SqliteConnection;

use super::{
    error::StoreError,
    postgres::{self, PgConn, PgTarget},
    sqlite,
};
use crate::secret::Secret;

/// Runs one body of diesel against whichever database the connection leads to.
macro_rules! with_conn {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::store::connection::Conn::Pg($c) => $body,
            $crate::store::connection::Conn::Sqlite($c) => $body,
        }
    };
}
pub(super) use with_conn;

/// The same in one transaction, which an `Err` rolls back. On SQLite it has the database from its beginning: one that
/// reads first and then writes could be refused in the middle.
macro_rules! in_transaction {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::store::connection::Conn::Pg($c) => $c.transaction(|$c| $body),
            $crate::store::connection::Conn::Sqlite($c) => $c.immediate_transaction(|$c| $body),
        }
    };
}
pub(super) use in_transaction;

/// A connection. Belongs to one thread, and blocks it.
#[expect(clippy::large_enum_variant, reason = "a handful of them, each on its thread's stack")]
pub(super) enum Conn {
    Pg(PgConn),
    Sqlite(SqliteConnection),
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    Sqlite,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The machinery's: leases, sweepers, takeover, whatever the node does of itself. It sees and writes everything.
    Machinery,
    /// The writer's, of the machinery too: its statements look rows up by key, whatever the statistics say.
    Writer,
    /// For reads on behalf of users. By itself it sees nothing: see [`super::viewer`].
    Viewers,
    /// Changes tables: may take long.
    Migrate,
}

/// Where to connect to.
pub(super) enum Target {
    Pg(Box<PgTarget>),
    Sqlite(PathBuf),
}

impl Target {
    /// `postgres://…` (or `postgresql://…`), `sqlite:path` or `sqlite://path`.
    pub fn parse(url: &Secret) -> Result<Self, StoreError> {
        let url = url.reveal();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Pg(Box::new(PgTarget::parse(url)?)));
        }
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
        match path {
            Some("" | ":memory:") => {
                Err(StoreError::Setup("the SQLite database must be a file: several connections share it".into()))
            }
            Some(path) => Ok(Self::Sqlite(path.into())),
            None => Err(StoreError::Setup("the database address must begin with postgres:// or sqlite:".into())),
        }
    }

    /// Which database it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Pg(_) => Kind::Postgres,
            Self::Sqlite(_) => Kind::Sqlite,
        }
    }

    /// A new connection, within [`postgres::CONNECT_TIMEOUT`]. The error's text may be logged.
    pub fn connect(&self, purpose: Purpose) -> Result<Conn, String> {
        match self {
            Self::Pg(target) => postgres::connect(target, purpose).map(Conn::Pg),
            Self::Sqlite(path) => sqlite::connect(path).map(Conn::Sqlite),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_postgresql_or_a_file() {
        let kind = |url: &str| Target::parse(&Secret::new(url)).map(|t| t.kind());
        assert_eq!(kind("postgres://carillon:pw@localhost/calls?sslmode=disable"), Ok(Kind::Postgres));
        assert_eq!(kind("postgresql://h/db?sslmode=verify-full&connect_timeout=3"), Ok(Kind::Postgres));
        assert_eq!(kind("sqlite:carillon.db"), Ok(Kind::Sqlite));
        assert_eq!(kind("sqlite:///var/lib/carillon.db"), Ok(Kind::Sqlite));
        assert!(kind("mysql://x").is_err());
        assert!(kind("sqlite::memory:").is_err());
    }

    #[test]
    fn a_wrong_address_is_refused_without_showing_it() {
        for url in ["postgres://u:hunter2@h:port/db", "postgres://u:hunter2@h/db?nonsense=1", "hunter2"] {
            let error = Target::parse(&Secret::new(url)).err().expect("refused");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
