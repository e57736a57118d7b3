//! The one cryptography provider of TLS, for everything in this process that speaks it.
//!
//! Owns the choice (ring). Must never be asked twice for different ones: the first call wins, later calls do nothing.

/// Makes ring the provider of rustls. Cheap, and safe to call again; without it reqwest panics when a client is built.
pub fn install_provider() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
