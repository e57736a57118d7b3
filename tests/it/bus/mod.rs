//! The bus: one suite that both implementations pass, and what only Redis can do to one.

mod conformance;
mod recorder;
mod redis_faults;
