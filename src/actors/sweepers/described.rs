//! What is told of each sweeper to whoever asks what there is.

use std::time::Duration;

use super::all;

/// A sweeper, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    pub name: &'static str,
    /// What it does, in a sentence.
    pub what: &'static str,
    /// How often it runs, about.
    pub interval: Duration,
}

/// Every sweeper; `usual`: how often those run that say nothing else.
pub fn described(usual: Duration) -> Vec<Described> {
    let of = |sweeper: &dyn super::Sweeper| Described {
        name: sweeper.name(),
        what: sweeper.what(),
        interval: sweeper.interval(usual),
    };
    all().map(of).collect()
}
