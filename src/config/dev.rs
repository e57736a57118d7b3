//! Development mode, and the question whether there is a key for tokens at all.
//!
//! Owns the development secret: random, in a file that only its owner reads, beside the embedded database, so that a
//! restart and `carillon token` find it. Must never make a node that others can reach trust it.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{Database, Settings, SettingsError};
use crate::secret::Secret;

/// The name of the secret's file.
const FILE: &str = "carillon-dev.secret";
/// The length of the secret in bytes; the file holds twice as many hexadecimal digits.
const BYTES: usize = 32;

impl Settings {
    /// Sees to it that tokens can be checked, or refuses to start. `dev_by_default`: the node was started without any
    /// argument and nothing was said about development mode. May make the development secret.
    pub fn with_keys_for_serving(mut self, dev_by_default: bool) -> Result<Self, SettingsError> {
        if !self.judge_keys_for_serving(dev_by_default)? {
            return Ok(self);
        }
        let path = self.dev_secret_path();
        self.auth.secret = Some(load_or_create(&path)?);
        self.dev = true;
        self.warnings.push(format!(
            "development mode: no key for tokens is set, so tokens are signed with the secret in {}; this address \
                is for this machine only",
            path.display()
        ));
        Ok(self)
    }

    /// Whether the development secret is wanted to serve with these settings, or why they do not do. Makes nothing.
    pub fn judge_keys_for_serving(&self, dev_by_default: bool) -> Result<bool, SettingsError> {
        if self.auth.has_key() {
            return Ok(false);
        }
        if !self.dev && !dev_by_default {
            return Err(error(
                "CARILLON_JWT_SECRET (--jwt-secret), CARILLON_JWT_PUBLIC_KEY (--jwt-public-key) and CARILLON_JWKS_URL \
                 (--jwks-url) are all empty, so no user's token could be checked: set one of them, or add --dev to try \
                 things out on this machine",
            ));
        }
        if !self.listen.ip().is_loopback() {
            return Err(error(format!(
                "CARILLON_LISTEN (--listen) is {}, which others may reach, and no key for tokens is set: development \
                 mode (--dev) is for loopback addresses such as 127.0.0.1:8080 then. Set CARILLON_JWT_SECRET \
                 (--jwt-secret), CARILLON_JWT_PUBLIC_KEY (--jwt-public-key) or CARILLON_JWKS_URL (--jwks-url)",
                self.listen
            )));
        }
        Ok(true)
    }

    /// Sees to it that tokens can be made: with the configured secret, or with the development secret of the node that
    /// has these settings. With `--dev` that is made if it is not there.
    pub fn with_keys_for_tokens(mut self) -> Result<Self, SettingsError> {
        let path = self.dev_secret_path();
        if self.auth.secret.is_none() && !self.auth.has_key() && (self.dev || path.exists()) {
            self.auth.secret = Some(load_or_create(&path)?);
            self.warnings.push(format!("signed with the development secret in {}", path.display()));
        }
        if self.auth.secret.is_some() {
            return Ok(self);
        }
        Err(error(if self.auth.has_key() {
            "CARILLON_JWT_SECRET (--jwt-secret) is empty: public keys check tokens but cannot sign them. Let the \
                owner of the private key make the token"
        } else {
            "CARILLON_JWT_SECRET (--jwt-secret) is empty: give the secret that the node has, or --dev for a node in \
                development mode"
        }))
    }

    /// Beside the embedded database; in the working directory if the database is elsewhere.
    fn dev_secret_path(&self) -> PathBuf {
        match &self.database {
            Database::Sqlite(file) => file.with_file_name(FILE),
            Database::Postgres(_) => PathBuf::from(FILE),
        }
    }
}

fn error(what: impl Into<String>) -> SettingsError {
    SettingsError(vec![what.into()])
}

fn load_or_create(path: &Path) -> Result<Secret, SettingsError> {
    let failed = |what: &str| error(format!("the development secret in {} {what}", path.display()));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let secret: String = rand::random::<[u8; BYTES]>().iter().map(|byte| format!("{byte:02x}")).collect();
            let written = file.write_all(secret.as_bytes());
            written.map_err(|error| failed(&format!("cannot be written: {error}")))?;
            Ok(Secret::new(secret))
        }
        Err(exists) if exists.kind() == ErrorKind::AlreadyExists => load(path).map_err(|what| failed(&what)),
        Err(cause) => Err(failed(&format!("cannot be made: {cause}"))),
    }
}

fn load(path: &Path) -> Result<Secret, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(unreadable)?;
    }
    // Another node may have made the file a moment ago and be writing it now.
    for _ in 0..20 {
        let secret = fs::read_to_string(path).map_err(unreadable)?;
        if secret.trim().len() >= 2 * BYTES {
            return Ok(Secret::new(secret.trim()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err("is too short; delete the file, and another will be made".to_owned())
}
