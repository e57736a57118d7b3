//! Calls on one embedded node: SQLite, no Redis, nothing to install.

use crate::scenarios::{On, core_suite};

core_suite!(On::Embedded);
