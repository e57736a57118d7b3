//! How webhooks are sent, judged.

use std::time::Duration;

use super::{Check, list, shown};
use crate::{config::raw::WebhookArgs, webhooks::Config};

/// The most attempts after the first. More, and one that is dead is tried for ever.
const MOST_RETRIES: usize = 20;
/// The longest wait between two, in seconds.
const LONGEST_WAIT: u64 = 86_400;

impl Check {
    pub(super) fn webhooks(&mut self, args: &WebhookArgs) -> Config {
        let allow_private = self.switch("CARILLON_WEBHOOK_ALLOW_PRIVATE", &args.webhook_allow_private);
        if allow_private {
            self.warnings.push(
                "CARILLON_WEBHOOK_ALLOW_PRIVATE is on: whoever has a service key can have any address within this network \
                 asked"
                    .to_owned(),
            );
        }
        Config {
            allow_private,
            timeout: self.seconds("CARILLON_WEBHOOK_TIMEOUT_SECS", &args.webhook_timeout_secs, 1..=30),
            retries: self.waits(&args.webhook_retry_secs),
        }
    }

    fn waits(&mut self, value: &str) -> Vec<Duration> {
        let waits = list(Some(value.to_owned()));
        let read = |wait: &String| wait.parse().ok().filter(|secs| (1..=LONGEST_WAIT).contains(secs));
        let read: Option<Vec<u64>> = waits.iter().map(read).collect();
        match read {
            Some(waits) if (1..=MOST_RETRIES).contains(&waits.len()) => {
                waits.into_iter().map(Duration::from_secs).collect()
            }
            _ => {
                let right = "give 1 to 20 whole numbers of seconds from 1 to 86400, separated by commas";
                self.wrong("CARILLON_WEBHOOK_RETRY_SECS", format!("is {}: {right}", shown(value)));
                Vec::new()
            }
        }
    }
}
