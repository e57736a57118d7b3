//! A batch of commits in one statement on PostgreSQL.
//!
//! Its twin is [`super::commit_sqlite`]; both pass the same tests.
use std::collections::HashSet;

use super::{commit::Prepared, error::Fault, postgres::PgConn};

pub(super) fn apply(_conn: &mut PgConn, _batch: &[&Prepared]) -> Result<HashSet<String>, Fault> {
    Err(Fault::Permanent("not yet".into()))
}
