//! A fresh database of either kind, and a look into it past the store.

use carillon::{
    secret::Secret,
    store::{Store, StoreOptions, migrate},
};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection, prelude::*};

use crate::support::postgres::Database;

pub enum Backend {
    Sqlite(tempfile::TempDir),
    Postgres(Database),
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Words {
    #[diesel(sql_type = diesel::sql_types::Text)]
    text: String,
}

impl Backend {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub fn postgres() -> Self {
        Self::Postgres(Database::create())
    }

    pub fn url(&self) -> Secret {
        match self {
            Self::Sqlite(folder) => Secret::new(format!("sqlite://{}", folder.path().join("calls.db").display())),
            Self::Postgres(database) => Secret::new(database.url()),
        }
    }

    /// The database by the role that owns its tables, where there are roles.
    pub fn owner(&self) -> Option<Secret> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(database) => Some(Secret::new(database.owner_url())),
        }
    }

    /// Migrated and open.
    pub async fn store(&self) -> Store {
        migrate(&self.url(), self.owner().as_ref()).await.unwrap();
        Store::open(&self.url(), StoreOptions::default()).await.unwrap()
    }

    fn file(&self) -> SqliteConnection {
        let url = self.url();
        let mut conn = SqliteConnection::establish(url.reveal().trim_start_matches("sqlite://")).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        conn
    }

    /// `SELECT <expression> FROM …`, one number.
    pub fn number(&self, expression: &str, from: &str) -> i64 {
        match self {
            Self::Sqlite(_) => {
                let sql = format!("SELECT {expression} AS number FROM {from}");
                diesel::sql_query(sql).get_result::<Number>(&mut self.file()).unwrap().number
            }
            Self::Postgres(database) => {
                let rows = database.sql(&format!("SELECT ({expression})::bigint FROM {from}"));
                rows[0][0].as_deref().unwrap().parse().unwrap()
            }
        }
    }

    /// `SELECT <expression> FROM …`, text, in order.
    pub fn texts(&self, expression: &str, from: &str) -> Vec<String> {
        match self {
            Self::Sqlite(_) => {
                let sql = format!("SELECT {expression} AS text FROM {from} ORDER BY 1");
                let rows: Vec<Words> = diesel::sql_query(sql).load(&mut self.file()).unwrap();
                rows.into_iter().map(|row| row.text).collect()
            }
            Self::Postgres(database) => {
                let rows = database.sql(&format!("SELECT {expression} FROM {from} ORDER BY 1"));
                rows.into_iter().filter_map(|mut row| row.swap_remove(0)).collect()
            }
        }
    }

    /// Runs a statement past the store.
    pub fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(_) => self.file().batch_execute(sql).unwrap(),
            Self::Postgres(database) => drop(database.sql(sql)),
        }
    }

    /// Rows of a table.
    pub fn count(&self, table: &str) -> i64 {
        self.number("count(*)", table)
    }
}
