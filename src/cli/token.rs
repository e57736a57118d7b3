//! `carillon token`: a token at the command line, for development and for looking into a running cluster.
//!
//! Must print nothing but the token on standard output, so that it can be used as `$(carillon token --user alice)`.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    clock,
    config::Settings,
    domain::ids::UserId,
    gateway::auth::{TokenRequest, mint},
};

/// The longest life of a token made here. Longer ones would be passwords.
const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// What the token is to say.
#[derive(Debug, Clone, Args)]
pub(super) struct TokenArgs {
    /// The user it speaks for (`sub`), at most 128 characters.
    #[arg(long, value_name = "NAME", value_parser = parse_user)]
    user: UserId,

    /// How long it is good for: 90s, 15m, 1h or 7d; at most 366d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,

    /// What the user may do: a user takes part in calls; an admin may also read everything and use the console.
    #[arg(long, value_enum, default_value = "user")]
    role: Role,

    /// The name others see when the user calls.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    User,
    Admin,
}

pub(super) fn run(args: &TokenArgs, settings: &Settings) -> ExitCode {
    for warning in &settings.warnings {
        eprintln!("carillon: {warning}");
    }
    let request = TokenRequest {
        user: args.user.clone(),
        name: args.name.clone(),
        admin: args.role == Role::Admin,
        ttl: args.ttl,
    };
    match mint(&settings.auth, &request, clock::now()) {
        Ok(token) => {
            #[expect(clippy::print_stdout, reason = "the token is what the command is for")]
            {
                println!("{token}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("carillon: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse_user(text: &str) -> Result<UserId, String> {
    UserId::new(text).map_err(|error| error.to_string())
}

/// A whole number with a unit, or of seconds.
pub(super) fn parse_ttl(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(24 * 3600),
        _ => None,
    };
    let seconds = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    let ttl = seconds.map(Duration::from_secs).filter(|ttl| !ttl.is_zero() && *ttl <= MAX_TTL);
    ttl.ok_or_else(|| "give a time such as 90s, 15m, 1h or 7d, at most 366d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_number_with_a_unit() {
        assert_eq!(parse_ttl("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_ttl("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_ttl("7d"), Ok(Duration::from_secs(7 * 86400)));
        for wrong in ["", "h", "0s", "-1h", "1.5h", "1w", "367d", "99999999999999999999d", "1h30m", "ü"] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }
}
