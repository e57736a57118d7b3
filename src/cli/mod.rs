//! The command line: what `carillon` can be asked to do.
//!
//! Owns the exit codes: 0 done, 1 failed, 2 asked wrongly (a wrong flag or setting). Must never print a secret; a token
//! only on standard output of `carillon token`, which is what that is for.

mod doctor;
mod healthcheck;
pub mod load;
mod service_key;
mod sweep;
mod token;

use std::{env, ffi::OsString, process::ExitCode, time::Duration};

use clap::{Arg, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand, builder::Resettable};
use tracing::{error, warn};

use crate::{
    app, build_info,
    config::{RawSettings, Settings, SettingsError},
    telemetry, tls,
};

/// The exit code for a wrong flag or setting; clap uses the same.
const WRONG_USAGE: u8 = 2;

const AFTER_HELP: &str = "\
Without a command, carillon serves. Without any argument and without a key for tokens, it serves in development mode, \
on this machine only.

Every setting is an environment variable and a flag; the flag wins. A variable that is set to nothing counts as not \
set. Seconds are whole seconds.";

/// The control plane for voice and video calls.
#[derive(Debug, Parser)]
#[command(name = "carillon", version = build_info::described(), after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: RawSettings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node (the default).
    Serve {
        #[command(flatten)]
        settings: Box<RawSettings>,
    },
    /// Bring the database's tables up to date, and exit. A node does the same when it starts, unless CARILLON_MIGRATE is
    /// off.
    Migrate {
        /// Change nothing: succeed if the tables are as this program needs them (newer is fine), fail if not.
        #[arg(long)]
        check: bool,

        /// With --check: ask again until they are, for so long: 90s, 15m or 1h. A database that cannot be reached is
        /// asked again too.
        #[arg(long, value_name = "TIME", requires = "check", value_parser = token::parse_ttl)]
        wait: Option<Duration>,

        #[command(flatten)]
        settings: Box<RawSettings>,
    },
    /// Print a user's token, signed with the settings of the node it is for.
    Token {
        #[command(flatten)]
        token: Box<token::TokenArgs>,
        #[command(flatten)]
        settings: Box<RawSettings>,
    },
    /// Make, list and revoke keys of the service API. Needs the settings of the database only.
    ServiceKey {
        #[command(flatten)]
        service_key: service_key::ServiceKeyArgs,
        #[command(flatten)]
        settings: Box<RawSettings>,
    },
    /// Have a living node run a sweeper now, and show what it found and did. Needs the settings of the database only.
    Sweep {
        #[command(flatten)]
        sweep: sweep::SweepArgs,
        #[command(flatten)]
        settings: Box<RawSettings>,
    },
    /// Ask the node on this machine, at CARILLON_LISTEN, whether it is ready: for containers.
    Healthcheck {
        #[command(flatten)]
        healthcheck: healthcheck::HealthcheckArgs,
        #[command(flatten)]
        settings: Box<RawSettings>,
    },
    /// Check the settings against the servers that they name, and say what is wrong and how to mend it. Exit code 0:
    /// nothing is wrong; 1: something is; 2: the settings themselves are. See docs/doctor.md.
    Doctor {
        #[command(flatten)]
        doctor: doctor::DoctorArgs,
        #[command(flatten)]
        settings: Box<RawSettings>,
    },
    /// Drive a running cluster with calls, and measure it.
    Load {
        #[command(flatten)]
        load: Box<load::LoadArgs>,
    },
}

/// Does what the command line says. The whole of `main`.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let bare = arguments.len() <= 1;
    let matches = unset_empty_variables(Cli::command()).try_get_matches_from(arguments);
    let cli = match matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be said if standard error is closed.
            let _ = error.print();
            return ExitCode::from(error.exit_code().clamp(0, i32::from(u8::MAX)) as u8);
        }
    };
    tls::install_provider();
    match cli.command {
        None => serve(cli.settings, bare),
        Some(Command::Serve { settings }) => serve(*settings, false),
        Some(Command::Migrate { check, wait, settings }) => match settings.validate() {
            Ok(settings) if check => with_log(&settings, |settings| app::check_migrated(settings, wait)),
            Ok(settings) => with_log(&settings, app::migrate),
            Err(error) => refuse(&error),
        },
        Some(Command::Token { token, settings }) => {
            match settings.validate().and_then(Settings::with_keys_for_tokens) {
                Ok(settings) => token::run(&token, &settings),
                Err(error) => refuse(&error),
            }
        }
        Some(Command::ServiceKey { service_key, settings }) => match settings.validate() {
            Ok(settings) => finished(service_key::run(&service_key, &settings)),
            Err(error) => refuse(&error),
        },
        Some(Command::Sweep { sweep, settings }) => match settings.validate() {
            Ok(settings) => finished(sweep::run(&sweep, &settings)),
            Err(error) => refuse(&error),
        },
        Some(Command::Healthcheck { healthcheck, settings }) => match settings.validate() {
            Ok(settings) => finished(healthcheck::run(&healthcheck, &settings)),
            Err(error) => refuse(&error),
        },
        Some(Command::Doctor { doctor, settings }) => match doctor::judged(*settings) {
            Ok(settings) => {
                finished(doctor::run(&doctor, &settings, &unknown_variables(env::vars_os().map(|(name, _)| name))))
            }
            Err(error) => doctor::refuse(&doctor, &error),
        },
        Some(Command::Load { load }) => finished(load::run(*load)),
    }
}

fn serve(settings: RawSettings, bare: bool) -> ExitCode {
    let dev_by_default = bare && !settings.says_whether_dev();
    let settings = settings.validate().and_then(|settings| settings.with_keys_for_serving(dev_by_default));
    match settings {
        Ok(settings) => with_log(&settings, app::serve),
        Err(error) => refuse(&error),
    }
}

/// Starts the log, says what there is to say about the settings, and runs `task` to its end.
fn with_log<F: Future<Output = anyhow::Result<()>>>(settings: &Settings, task: impl FnOnce(Settings) -> F) -> ExitCode {
    telemetry::init(&settings.log);
    for warning in &settings.warnings {
        warn!(why = warning, "settings to mind");
    }
    for name in unknown_variables(env::vars_os().map(|(name, _)| name)) {
        warn!(setting = name, "this variable is no setting and has no effect; carillon --help names all");
    }
    let result = actix::System::new().block_on(task(settings.clone()));
    if let Err(failure) = &result {
        error!(error = format!("{failure:#}"), "stopped by an error");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn finished(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("carillon: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(error: &SettingsError) -> ExitCode {
    for line in &error.0 {
        eprintln!("carillon: {line}");
    }
    eprintln!("carillon: see `carillon --help` for every setting");
    ExitCode::from(WRONG_USAGE)
}

/// Variables that look like settings and are none, probably misspelt. Kubernetes sets some for every service in the
/// namespace; a service named carillon is no reason to warn.
fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let command = Cli::command();
    let known = |name: &str| command.get_arguments().any(|arg| arg.get_env().is_some_and(|known| known == name));
    let by_kubernetes = |name: &str| name.contains("_PORT") || name.contains("_SERVICE_HOST");
    let suspicious = |name: &String| name.starts_with("CARILLON_") && !known(name) && !by_kubernetes(name);
    names.filter_map(|name| name.into_string().ok()).filter(suspicious).collect()
}

/// Makes clap forget variables that are set to nothing: that is how compose files and manifests say "not set".
fn unset_empty_variables(command: ClapCommand) -> ClapCommand {
    let is_empty = |arg: &Arg| arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    let forget = move |arg: Arg| if is_empty(&arg) { arg.env(Resettable::<clap::builder::OsStr>::Reset) } else { arg };
    command.mut_args(forget).mut_subcommands(unset_empty_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_misspelt_variable_is_noticed_and_those_of_kubernetes_are_not() {
        let names = ["CARILLON_RING_TIMEOUT", "CARILLON_LISTEN", "CARILLON_DEV", "PATH", "CARILLON_SERVICE_HOST"];
        let more = ["CARILLON_SERVICE_PORT_HTTP", "CARILLON_PORT_8080_TCP_ADDR", "CARILLON_REDIS_PORT"];
        let all = names.into_iter().chain(more).map(OsString::from);
        assert_eq!(unknown_variables(all), ["CARILLON_RING_TIMEOUT"]);
    }
}
