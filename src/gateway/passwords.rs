//! Passwords of public links: hashed and compared by Argon2id, on threads of their own.
//!
//! A hash takes 19 MiB and some 20 ms of one core, so that guessing is dear; here that must not be the node's own ruin.
//! Two threads, a bounded queue: more than waits there is refused at once. Never on an event loop, never logged.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::oneshot;

use crate::{secret::Secret, wire::Refusal};

/// OWASP's least for Argon2id: 19 MiB, two passes, one lane. Less, and a stolen hash is guessed faster; more, and a few
/// who try at once fill a small machine's memory.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Threads, and so passwords at once. More take the cores from calls.
const THREADS: usize = 2;
/// Passwords that wait: a second's work. More would be answered after their clients gave up.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce(&Argon2<'static>) + Send>;

/// See the module. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Passwords {
    jobs: mpsc::SyncSender<Job>,
}

impl Passwords {
    /// Starts the threads.
    ///
    /// # Errors
    /// They cannot be started.
    pub fn start() -> Result<Self, String> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| error.to_string())?;
        let (jobs, waiting) = mpsc::sync_channel::<Job>(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..THREADS {
            let (waiting, params) = (waiting.clone(), params.clone());
            let work = move || {
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                loop {
                    let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    job(&argon2);
                }
            };
            thread::Builder::new().name("passwords".into()).spawn(work).map_err(|error| error.to_string())?;
        }
        Ok(Self { jobs })
    }

    /// The hash of a password, as PHC writes it.
    ///
    /// # Errors
    /// Too many wait.
    pub async fn hash(&self, password: Secret) -> Result<String, Refusal> {
        self.run(move |argon2| argon2.hash_password(password.reveal().as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(|_| Refusal::invalid("this password cannot be used"))
    }

    /// Whether the password is the one of this hash. One that cannot be read is nobody's.
    ///
    /// # Errors
    /// Too many wait.
    pub async fn fits(&self, password: Secret, hash: String) -> Result<bool, Refusal> {
        self.run(move |argon2| {
            let Ok(hash) = PasswordHash::new(&hash) else { return false };
            argon2.verify_password(password.reveal().as_bytes(), &hash).is_ok()
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (told, answer) = oneshot::channel();
        let job: Job = Box::new(move |argon2| {
            let _ = told.send(work(argon2));
        });
        let busy = || Refusal::unavailable("too many passwords wait to be checked");
        self.jobs.try_send(job).map_err(|_| busy())?;
        answer.await.map_err(|_| busy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_alone() {
        let passwords = Passwords::start().unwrap();
        let hash = passwords.hash(Secret::new("open sesame")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(!hash.contains("sesame"));
        assert_eq!(passwords.fits(Secret::new("open sesame"), hash.clone()).await, Ok(true));
        assert_eq!(passwords.fits(Secret::new("open Sesame"), hash.clone()).await, Ok(false));
        assert_eq!(passwords.fits(Secret::new(""), hash).await, Ok(false));
        assert_eq!(passwords.fits(Secret::new("x"), "no hash".into()).await, Ok(false));
    }

    #[tokio::test]
    async fn the_same_password_has_another_hash_each_time() {
        let passwords = Passwords::start().unwrap();
        let hash = || passwords.hash(Secret::new("again"));
        assert_ne!(hash().await.unwrap(), hash().await.unwrap());
    }

    #[tokio::test]
    async fn more_than_can_wait_are_refused_and_not_kept() {
        let passwords = Passwords::start().unwrap();
        let many = (0..QUEUE * 3).map(|_| passwords.hash(Secret::new("flood")));
        let outcomes = futures_util::future::join_all(many).await;
        assert!(outcomes.iter().any(Result::is_ok));
        assert!(outcomes.iter().any(|outcome| outcome.as_ref().is_err_and(|refusal| refusal.retryable)));
    }
}
