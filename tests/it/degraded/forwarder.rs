//! A TCP forwarder that can be cut: one node's way to a server that the others still reach.

use std::sync::Arc;

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Ends with the test.
pub struct Forwarder {
    port: u16,
    open: Arc<watch::Sender<bool>>,
}

impl Forwarder {
    /// Forwards to a port of this machine, from a port of its own.
    pub async fn to(target: (&'static str, u16)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let open = Arc::new(watch::Sender::new(true));
        let is_open = open.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut watching = is_open.subscribe();
                if !*watching.borrow() {
                    continue; // closed at once
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    let mut near = near;
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = watching.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { port, open }
    }

    /// The address for `REDIS_URL`.
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Breaks every connection and refuses new ones.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Forwards again.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}
