//! Connections to PostgreSQL: tokio-postgres and rustls behind diesel's blocking interface.
//!
//! Each connection has a small runtime of its own, on the thread that uses it: no hop to another thread per query.
//! Survives a server that is gone without a word: every wait has an end ([`ANSWER_LIMIT`]), after which the
//! connection is given up.

use std::{cell::RefCell, future::Future, pin::pin, time::Duration};

use diesel::connection::SimpleConnection;
use diesel_async::{
    AsyncPgConnection,
    async_connection_wrapper::{AsyncConnectionWrapper, BlockOn},
};
use futures_util::future::{Either, select};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    runtime::{Builder, Runtime},
    task::AbortHandle,
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{connection::Purpose, error::StoreError, tls};

/// A blocking connection with diesel's interface.
pub(super) type PgConn = AsyncConnectionWrapper<AsyncPgConnection, OwnRuntime>;

/// From nothing to a connection that takes statements. Shorter: a loaded server is taken for a dead one; longer:
/// callers learn late that the database is away.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for the answer to one statement: more than the server's own `statement_timeout` (5 s), so that
/// it passes only when nobody is there to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// The same for migrations, which may rewrite tables.
const MIGRATION_LIMIT: Duration = Duration::from_secs(3600);

/// What every session asks of the server: an end to statements that run away, to waits for locks (another node's
/// batch takes milliseconds), and to transactions whose client stalled.
const LIMITS: &str = "SET statement_timeout = '5s'; SET lock_timeout = '2s'; \
    SET idle_in_transaction_session_timeout = '10s'; SET application_name = 'carillon'; SET jit = off";

/// The session is the node's: row-level security (migration 0008) shows it everything. Without it nothing is shown.
const AS_NODE: &str = "SET carillon.scope = 'node'";

/// The writer's statements touch rows by key only. A plan made while the tables were empty must not scan or hash them
/// for ever, and planning anew costs more than the statement.
const KEYED: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off";

/// What users look up is found by index, row by row. The conditions of row-level security make rows look dear, and a look
/// must not become a scan, nor take more than its one process, because of that.
const LOOKED_UP: &str = "SET enable_seqscan = off; SET max_parallel_workers_per_gather = 0";

/// Where and how to connect.
pub(super) struct PgTarget {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

impl PgTarget {
    /// Reads a URL as libpq does, with `sslrootcert` for a file of trusted certificates, and TLS by rustls:
    /// `disable`; `prefer` (the default) encrypts when the server can and, as in libpq, trusts any certificate;
    /// `require`, `verify-ca` and `verify-full` check chain and name.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut rest, mut root_file, mut verify) = (Vec::new(), None, false);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslrootcert", file)) => root_file = Some(percent_decoded(file)),
                Some(("sslmode", "require" | "verify-ca" | "verify-full")) => {
                    verify = true;
                    rest.push("sslmode=require");
                }
                _ => rest.push(pair),
            }
        }
        // The parser's own error would show the address.
        let mut config: tokio_postgres::Config = format!("{base}?{}", rest.join("&"))
            .parse()
            .map_err(|_| StoreError::Setup("the database address is not a PostgreSQL URL".into()))?;
        config.connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(Duration::from_secs(5));
        config.keepalives_interval(Duration::from_secs(2));
        config.keepalives_retries(3);
        config.tcp_user_timeout(ANSWER_LIMIT);
        let trust_any = config.get_ssl_mode() == SslMode::Prefer && !verify && root_file.is_none();
        let tls = if trust_any {
            tls::trusting_any()
        } else {
            let mut roots = Vec::new();
            if let Some(file) = root_file {
                let bad = || StoreError::Setup("sslrootcert names no readable file of PEM certificates".into());
                for certificate in CertificateDer::pem_file_iter(file).map_err(|_| bad())? {
                    roots.push(certificate.map_err(|_| bad())?);
                }
            }
            tls::checking(roots)
        }
        .map_err(|_| StoreError::Setup("TLS cannot be set up".into()))?;
        Ok(Self { config, tls })
    }

    /// Where to connect, for who looks at it.
    pub fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// How its certificate is checked.
    pub fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// The role that logs in here; `None` if the address leaves it to the server's defaults.
    pub fn role(&self) -> Option<&str> {
        self.config.get_user()
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2)).flatten();
        let decoded = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

thread_local! {
    // diesel asks for a runtime without telling for which connection: this is the one just made.
    static HANDOFF: RefCell<Option<OwnRuntime>> = const { RefCell::new(None) };
}

/// A runtime on the connection's own thread, which gives the connection up when an answer does not come.
pub(super) struct OwnRuntime {
    runtime: Runtime,
    /// Ends the connection's IO, so that whatever waits for it fails.
    io: Option<AbortHandle>,
    limit: Duration,
}

impl BlockOn for OwnRuntime {
    fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(async {
            let work = pin!(work);
            let limit = pin!(tokio::time::sleep(self.limit));
            match select(work, limit).await {
                Either::Left((output, _)) => output,
                Either::Right(((), work)) => {
                    if let Some(io) = &self.io {
                        io.abort();
                    }
                    work.await
                }
            }
        })
    }

    fn get_runtime() -> Self {
        HANDOFF.take().unwrap_or_else(|| Self { runtime: own_runtime(), io: None, limit: ANSWER_LIMIT })
    }
}

fn own_runtime() -> Runtime {
    #[expect(clippy::expect_used, reason = "fails only when the process has no file descriptors left")]
    Builder::new_current_thread().enable_all().build().expect("a runtime for a connection")
}

/// A new session, with its limits set.
pub(super) fn connect(target: &PgTarget, purpose: Purpose) -> Result<PgConn, String> {
    let runtime = own_runtime();
    let connecting = async {
        let (client, io) = target.config.connect(target.tls.clone()).await.map_err(|e| described(&e))?;
        let io = tokio::spawn(io).abort_handle();
        let conn = AsyncPgConnection::try_from(client).await.map_err(|e| e.to_string())?;
        Ok::<_, String>((conn, io))
    };
    let timed = async { tokio::time::timeout(CONNECT_TIMEOUT, connecting).await };
    let (conn, io) = runtime.block_on(timed).map_err(|_| "no answer in time".to_owned())??;
    let limit = if purpose == Purpose::Migrate { MIGRATION_LIMIT } else { ANSWER_LIMIT };
    HANDOFF.set(Some(OwnRuntime { runtime, io: Some(io), limit }));
    let mut conn = PgConn::from(conn);
    let settings = match purpose {
        Purpose::Machinery => format!("{LIMITS}; {AS_NODE}"),
        Purpose::Writer => format!("{LIMITS}; {AS_NODE}; {KEYED}"),
        Purpose::Viewers => format!("{LIMITS}; {LOOKED_UP}"),
        Purpose::Migrate => format!("SET application_name = 'carillon migrate'; {AS_NODE}"),
    };
    conn.batch_execute(&settings).map_err(|_| "the session's limits cannot be set".to_owned())?;
    // So that errors read the same everywhere (see `error::by_message`). Not every role may: then they are what the
    // server's language makes them, and deadlocks are no longer told apart.
    let _ = conn.batch_execute("SET lc_messages = 'C'");
    Ok(conn)
}

/// A connection error with its cause. Neither holds the address or a password.
fn described(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
