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
    // A missing .env is not an error; an unreadable one is. Parent folders are not searched: their .env may belong to
    // something else.
    match dotenvy::from_path(".env") {
        Err(error) if !error.not_found() => return fault(USAGE, &launch::unread(&error)),
        Ok(_) | Err(_) => {}
    }
    match Box::pin(launch::run(cli)).await {
        Ok(code) => code.into(),
        Err(error) => fault(launch::exit_code(&error), &launch::description(&error)),
    }
}

fn fault(code: u8, text: &str) -> ExitCode {
    // If standard error is closed, there is nowhere left to report to.
    writeln!(std::io::stderr(), "{text}").ok();
    code.into()
}
