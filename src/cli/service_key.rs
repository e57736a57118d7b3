//! `carillon service-key`: makes, lists and revokes keys of the service API, straight in the database.
//!
//! Must print a key only when it is made, and nothing else on standard output then, so that it can be used as
//! `$(carillon service-key create NAME)`. What it does is in the audit log like anything else.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::token::parse_ttl;
use crate::{
    app, clock,
    config::Settings,
    domain::Timestamp,
    gateway::{
        auth::service::{hash_of, new_key},
        rest::service_keys::MAX_NAME_CHARS,
    },
    store::{Act, Actor, ActorKind, NewServiceKey, RevokeOutcome, ServiceKey, Store, StoreOptions},
};

/// Keys read at once.
const BATCH: usize = 200;

/// What to do.
#[derive(Debug, Clone, Args)]
pub(super) struct ServiceKeyArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Make a key, and print it: it is never shown again.
    Create {
        /// What it is for, at most 100 characters.
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: String,

        /// How long it is good for: 90s, 15m, 1h or 7d; at most 366d. Without it, until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
        expires_in: Option<Duration>,
    },
    /// Show all keys, also those that are good no more: when made, last used, and what became of them.
    List,
    /// Make a key useless, on every node within seconds.
    Revoke {
        /// The key's id, as `list` shows it.
        #[arg(value_name = "ID")]
        id: Uuid,
    },
}

fn parse_name(name: &str) -> Result<String, String> {
    let fits = !name.trim().is_empty() && name.chars().count() <= MAX_NAME_CHARS && !name.contains('\0');
    if fits { Ok(name.to_owned()) } else { Err(format!("give 1 to {MAX_NAME_CHARS} characters")) }
}

pub(super) fn run(args: &ServiceKeyArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let url = app::database_url(&settings.database);
        let store =
            Store::open(&url, StoreOptions { connections: 1 }).await.context("the database cannot be opened")?;
        let done = match &args.what {
            What::Create { name, expires_in } => create(&store, name, *expires_in).await,
            What::List => list(&store).await,
            What::Revoke { id } => revoke(&store, *id).await,
        };
        store.close().await;
        done.map(|()| ExitCode::SUCCESS)
    })
}

fn act(action: &'static str, id: Uuid) -> Act {
    let who = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let actor = Actor { kind: ActorKind::CommandLine, id: who.unwrap_or_else(|| "unknown".to_owned()), name: None };
    Act::new(&actor, clock::now(), action, "service_key", id.to_string())
}

async fn create(store: &Store, name: &str, expires_in: Option<Duration>) -> anyhow::Result<()> {
    let (id, key) = (Uuid::now_v7(), new_key());
    let expires_at = expires_in.map(|ttl| clock::now() + ttl);
    let new = NewServiceKey { id, name: name.to_owned(), hash: hash_of(key.reveal()), expires_at };
    store.create_service_key(&new, &act("service_key.create", id)).await.context("the key cannot be stored")?;
    eprintln!("carillon: made service key {id} ({name}); it is shown this once");
    print(key.reveal());
    Ok(())
}

async fn list(store: &Store) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let keys = store.service_keys_after(after, BATCH).await?;
        let Some(last) = keys.last() else { return Ok(()) };
        after = Some(last.id);
        for key in &keys {
            print(&line_of(key, clock::now()));
        }
    }
}

fn line_of(key: &ServiceKey, now: Timestamp) -> String {
    let time = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let standing = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if at <= now => format!("expired {at}"),
        (None, at) => format!("good, expires {}", time(at)),
    };
    format!("{}  {}  made {}  last used {}  {standing}", key.id, key.name, key.created_at, time(key.last_used_at))
}

async fn revoke(store: &Store, id: Uuid) -> anyhow::Result<()> {
    match store.revoke_service_key(id, &act("service_key.revoke", id)).await? {
        RevokeOutcome::Revoked => eprintln!("carillon: revoked {id}"),
        RevokeOutcome::AlreadyRevoked => eprintln!("carillon: {id} was revoked before"),
        RevokeOutcome::NotFound => bail!("there is no service key {id}"),
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the command is asked for")]
fn print(line: &str) {
    println!("{line}");
}
