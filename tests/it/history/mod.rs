//! Looking back: lists of calls, timelines, statistics, quality.

mod lists;
mod measured;
mod pages;
pub mod plans;
mod quality;
mod seed;
mod timeline;
