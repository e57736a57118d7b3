//! The files of recordings: a directory that egress and this node share, or a bucket of an S3-compatible store.
//!
//! Egress writes, Carillon reads and deletes. Must never hold a file in memory, nor take a store that could not be asked
//! for a file that is not there. Deleting what is gone is done: whoever died after it did it does it again.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use livekit_protocol::S3Upload;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    local::LocalFileSystem,
    path::Path,
    signer::Signer,
};

use crate::{domain::Timestamp, secret::Secret};

/// How long the store may take to answer a question, tries included. Longer, and whoever waits has gone; shorter, and a
/// store that is busy counts as away.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to send the next piece of a file.
const PIECE_PATIENCE: Duration = Duration::from_secs(30);
/// Tries of one question. More would outlast [`PATIENCE`].
const RETRIES: usize = 2;

/// Where files of recordings are kept.
#[derive(Debug, Clone)]
pub enum FilesConfig {
    Directory {
        dir: PathBuf,
        /// The same directory where egress runs.
        egress_dir: String,
    },
    S3(S3Config),
}

/// A bucket.
#[derive(Debug, Clone)]
pub struct S3Config {
    pub bucket: String,
    pub region: String,
    /// `None`: Amazon's.
    pub endpoint: Option<String>,
    pub access_key: String,
    pub secret_key: Secret,
    /// Before each file's name, such as `recordings/`.
    pub prefix: String,
    /// Downloads are sent to the store itself, by an address that it has signed for a short time.
    pub redirect: bool,
}

/// Why a file could not be seen, read or deleted: nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of recordings is not available")]
pub struct FilesAway;

/// A file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    pub bytes: u64,
    pub modified: Timestamp,
}

#[derive(Clone)]
enum Kind {
    Directory { egress_dir: String },
    S3 { config: S3Config, signer: Arc<AmazonS3> },
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    pub(super) store: Arc<dyn ObjectStore>,
    prefix: String,
    kind: Kind,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Directory { .. } => "Files(directory)",
            Kind::S3 { .. } => "Files(S3)",
        })
    }
}

impl Files {
    /// Opens the store. A directory is made if it is not there; a bucket is not asked for.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub fn open(config: &FilesConfig) -> Result<Self, String> {
        match config {
            FilesConfig::Directory { dir, egress_dir } => {
                std::fs::create_dir_all(dir).map_err(|error| format!("RECORDINGS_DIR: {error}"))?;
                let store =
                    LocalFileSystem::new_with_prefix(dir).map_err(|error| format!("RECORDINGS_DIR: {error}"))?;
                let egress_dir = egress_dir.trim_end_matches('/').to_owned();
                Ok(Self { store: Arc::new(store), prefix: String::new(), kind: Kind::Directory { egress_dir } })
            }
            FilesConfig::S3(config) => {
                crate::tls::install_provider();
                let store = Arc::new(s3(config).map_err(|error| format!("RECORDINGS_S3_BUCKET: {error}"))?);
                let kind = Kind::S3 { config: config.clone(), signer: store.clone() };
                Ok(Self { store, prefix: config.prefix.clone(), kind })
            }
        }
    }

    /// What egress is told to write this file to.
    pub(super) fn path_for_egress(&self, file: &str) -> String {
        match &self.kind {
            Kind::Directory { egress_dir } => format!("{egress_dir}/{file}"),
            Kind::S3 { .. } => format!("{}{file}", self.prefix),
        }
    }

    /// Where egress is told to upload it to.
    pub(super) fn upload(&self) -> Option<S3Upload> {
        let Kind::S3 { config, .. } = &self.kind else { return None };
        Some(S3Upload {
            access_key: config.access_key.clone(),
            secret: config.secret_key.reveal().to_owned(),
            region: config.region.clone(),
            endpoint: config.endpoint.clone().unwrap_or_default(),
            bucket: config.bucket.clone(),
            force_path_style: config.endpoint.is_some(),
            ..S3Upload::default()
        })
    }

    pub(super) fn path(&self, file: &str) -> Path {
        Path::from(format!("{}{file}", self.prefix))
    }

    /// The file, if it is there.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn look(&self, file: &str) -> Result<Option<FileMeta>, FilesAway> {
        match within(self.store.head(&self.path(file))).await? {
            Ok(meta) => Ok(Some(FileMeta { bytes: meta.size, modified: Timestamp::from_datetime(meta.last_modified) })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(away("looked for", &error)),
        }
    }

    /// A part of the file, piece by piece, as fast as it is taken. `None`: the file is not there.
    ///
    /// # Errors
    /// The store could not be asked; in the stream: it went away meanwhile.
    pub async fn read(
        &self,
        file: &str,
        range: Range<u64>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, FilesAway>>>, FilesAway> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match within(self.store.get_opts(&self.path(file), options)).await? {
            Ok(found) => {
                let pieces = found.into_stream().map_err(|error| away("read", &error));
                // A store that stops in the middle must not hold a connection for ever.
                let pieces = patient(pieces);
                Ok(Some(pieces.boxed()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(away("read", &error)),
        }
    }

    /// Deletes the file; one that is not there is deleted.
    ///
    /// # Errors
    /// The store could not be asked, or refuses: the file may be there.
    pub async fn delete(&self, file: &str) -> Result<(), FilesAway> {
        match within(self.store.delete(&self.path(file))).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(away("deleted", &error)),
        }
    }

    /// An address at the store itself that is good for so long; `None`: downloads go through here.
    pub async fn redirect(&self, file: &str, good_for: Duration) -> Option<String> {
        let Kind::S3 { config, signer } = &self.kind else { return None };
        if !config.redirect {
            return None;
        }
        let url = signer.signed_url(reqwest::Method::GET, &self.path(file), good_for).await.ok()?;
        Some(url.into())
    }
}

fn s3(config: &S3Config) -> object_store::Result<AmazonS3> {
    let client = ClientOptions::new()
        .with_allow_http(true)
        .with_connect_timeout(Duration::from_secs(3))
        // Of the whole answer: files take longer than any timeout that suits a question. See `within`.
        .with_timeout_disabled()
        .with_read_timeout(PIECE_PATIENCE);
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: PATIENCE };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_access_key_id(&config.access_key)
        .with_secret_access_key(config.secret_key.reveal())
        .with_client_options(client)
        .with_retry(retry);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
    }
    builder.build()
}

async fn within<T>(asked: impl Future<Output = T>) -> Result<T, FilesAway> {
    tokio::time::timeout(PATIENCE, asked).await.map_err(|_| FilesAway)
}

fn patient(
    pieces: impl Stream<Item = Result<Bytes, FilesAway>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, FilesAway>> {
    futures_util::stream::unfold(Some(pieces.boxed()), |pieces| async move {
        let mut pieces = pieces?;
        match tokio::time::timeout(PIECE_PATIENCE, pieces.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(FilesAway), None)),
        }
    })
}

/// Logged without its words, which may hold addresses.
fn away(what: &'static str, error: &object_store::Error) -> FilesAway {
    let why = match error {
        object_store::Error::PermissionDenied { .. } => "permission denied",
        object_store::Error::Unauthenticated { .. } => "not authenticated",
        object_store::Error::InvalidPath { .. } => "invalid path",
        _ => "unavailable",
    };
    tracing::warn!(what, why, "the store of recordings failed");
    FilesAway
}

#[cfg(test)]
mod tests;
