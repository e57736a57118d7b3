use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fault injection by the environment variable FAILPOINTS, in builds for the tests only.
    #[cfg(feature = "failpoints")]
    let _faults = fail::FailScenario::setup();
    carillon::cli::run()
}
