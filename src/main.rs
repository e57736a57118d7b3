use std::process::ExitCode;

fn main() -> ExitCode {
    // Fault injection by the environment variables FAILPOINTS and FAILPOINT_DEATH, in builds for the tests only.
    #[cfg(feature = "failpoints")]
    let _faults = fail::FailScenario::setup();
    #[cfg(feature = "failpoints")]
    die_where_told();
    carillon::cli::run()
}

/// `FAILPOINT_DEATH=NAME:PASSES`: the process dies at once, without a word to anybody, at the fail point of this name
/// after it has been passed so many times.
#[cfg(feature = "failpoints")]
fn die_where_told() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let told = std::env::var("FAILPOINT_DEATH").unwrap_or_default();
    let Some((name, passes)) = told.split_once(':') else { return };
    let Ok(passes) = passes.parse::<u32>() else { return };
    let passed = AtomicU32::new(0);
    let die = move || {
        if passed.fetch_add(1, Ordering::SeqCst) == passes {
            std::process::abort();
        }
    };
    if let Err(error) = fail::cfg_callback(name, die) {
        eprintln!("FAILPOINT_DEATH: {error}");
    }
}
