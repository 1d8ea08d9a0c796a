//! The `genflow` binary.

use std::io::Write as _;
use std::process::ExitCode;

use genflow::launch;
use genflow::operate::cli::{self, USAGE};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    let of_env_file = match launch::read_env_file() {
        Ok(names) => names,
        Err(error) => return fault(USAGE, &launch::unread(&error)),
    };
    match Box::pin(launch::run(cli, of_env_file)).await {
        Ok(code) => code.into(),
        Err(error) => fault(launch::exit_code(&error), &launch::description(&error)),
    }
}

fn fault(code: u8, text: &str) -> ExitCode {
    // If standard error is closed, there is nowhere left to report to.
    writeln!(std::io::stderr(), "{text}").ok();
    code.into()
}
