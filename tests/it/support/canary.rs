//! What must never stand in a log: tokens, keys, passwords, SDP, candidates.
//!
//! Test clients put a fixed canary into every payload they send and register every token they use; when a node ends,
//! its whole log is searched for all of them.

use std::{collections::BTreeSet, path::Path, sync::Mutex};

use super::{postgres, process::lock};

/// Stands in every SDP a test client sends.
pub const SDP: &str = "canary-sdp-7f3a";
/// Stands in every ICE candidate a test client sends.
pub const CANDIDATE: &str = "canary-cand-91bc";

/// The secrets of one cluster.
pub struct Canaries(Mutex<BTreeSet<String>>);

impl Default for Canaries {
    fn default() -> Self {
        Self(Mutex::new([SDP, CANDIDATE, postgres::PASSWORD].map(str::to_owned).into()))
    }
}

impl Canaries {
    /// A secret that may stand in no log from now on.
    pub fn forbid(&self, secret: &str) {
        lock(&self.0).insert(secret.to_owned());
    }

    /// A token, by its signature: whoever logs it whole or cut at the front still logs that.
    pub fn forbid_token(&self, token: &str) {
        let signature = token.rsplit('.').next().unwrap_or(token);
        if signature.len() >= 16 {
            self.forbid(signature);
        }
    }

    /// Lines of the log that hold a secret, each with the secret.
    pub fn find_in(&self, log: &Path) -> Vec<String> {
        let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let secrets = lock(&self.0);
        let hits = secrets.iter().filter_map(|secret| {
            let line = text.lines().find(|line| line.contains(secret.as_str()))?;
            Some(format!("{secret} in: {}", line.chars().take(600).collect::<String>()))
        });
        hits.collect()
    }
}
