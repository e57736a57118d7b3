//! How often a scenario is run, and the seed of what is random in it.
//!
//! `CARILLON_FAULT_ROUNDS` multiplies the rounds, for a longer hunt; `CARILLON_FAULT_SEED` repeats the choices of a run
//! (not its timing).

use std::fmt;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::checker::History;

/// Runs a scenario so often, times `CARILLON_FAULT_ROUNDS`, each time on a cluster of its own; then prints its figures.
/// The scenario ends with [`History::check`].
pub async fn repeat(usual: u64, scenario: impl AsyncFn(&History, Round)) {
    let seed = number("CARILLON_FAULT_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let rounds = Rounds { count: usual * number("CARILLON_FAULT_ROUNDS").unwrap_or(1).max(1), seed };
    let history = History::default();
    for number in 0..rounds.count {
        let round = Round { seed: seed + number };
        // Shown when the round fails.
        println!("round of seed {}", round.seed);
        scenario(&history, round).await;
    }
    history.print_figures(rounds);
}

/// Rounds that begin with this seed; each has the next.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    count: u64,
    seed: u64,
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, seed } = self;
        if *count == 1 { write!(f, "1 round, seed {seed}") } else { write!(f, "{count} rounds, seeds from {seed}") }
    }
}

/// One run of a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub seed: u64,
}

impl Round {
    /// Its random choices.
    pub fn random(self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
