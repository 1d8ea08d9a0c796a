//! Runs the operator's commands and prints their results.

use std::io::Write;

use serde_json::json;

use super::{
    Error, Operator, budget, bulk, costs, doctor, get, health, list, models, notifications, replay,
    status, submit, watch,
};
use crate::domain::{Action, UserId};
use crate::engines::config::Config;
use crate::engines::kafka::admin::Asked;
use crate::operate::setup;
use crate::roles::notifier::{MasterKey, user_secret};

/// Runs one command, and returns its exit code.
///
/// # Errors
/// [`super::exit_code`] has a code for each.
pub async fn operate(
    config: &Config,
    command: &Operator,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    ignoring_closed_pipe(carry_out(config, command, out).await)
}

async fn carry_out(
    config: &Config,
    command: &Operator,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    match command {
        Operator::Setup {
            grow,
            replication,
            json,
        } => {
            let asked = Asked {
                grow: *grow,
                replication: replication.map(usize::from),
            };
            match json {
                true => setup::run(config, asked, &mut JsonLines(out)).await?,
                false => setup::run(config, asked, out).await?,
            }
        }
        Operator::Doctor { json, try_fairness } => {
            return doctor::run(config, *json, *try_fairness, out).await;
        }
        Operator::Health(asked) => return health::check(config, asked, out).await,
        Operator::Status { id, json } => return status::show(config, id, *json, out).await,
        Operator::Get(asked) => return get::get(config, asked, out).await,
        Operator::List(list) => return list::list(config, list, out).await,
        Operator::Costs(asked) => return costs::costs(config, asked, out).await,
        Operator::Budget(budget) => return budget::show(config, budget, out).await,
        Operator::Replay(replay) => return replay::replay(config, replay, out).await,
        Operator::Models(models) => return models::run(config, models, out).await,
        Operator::Notifications(command) => return notifications::run(config, command, out).await,
        Operator::Submit(submit) => return submit::submit(config, submit, out).await,
        Operator::Cancel(asked) => return bulk::ask(config, Action::Cancel, asked, out).await,
        Operator::Retry(asked) => return bulk::ask(config, Action::Retry, asked, out).await,
        Operator::Watch(watch) => watch::watch(config, watch, out).await?,
        Operator::WebhookSecret { user, json } => webhook_secret(config, user, *json, out)?,
    }
    Ok(0)
}

/// Counts a closed pipe as success: a reader that closes its end, such as `head`, has what it wants.
pub(super) fn ignoring_closed_pipe(ended: anyhow::Result<u8>) -> anyhow::Result<u8> {
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    match ended {
        Err(error) if error.downcast_ref().is_some_and(closed) => Ok(0),
        ended => ended,
    }
}

/// Writes each line that it gets as a JSON object with it.
struct JsonLines<'o>(&'o mut (dyn Write + Send));

impl Write for JsonLines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            writeln!(self.0, "{}", json!({ "done": line }))?;
        }
        Ok(bytes.len())
    }

    // Unlike the default, which writes a line in pieces.
    fn write_fmt(&mut self, line: std::fmt::Arguments<'_>) -> std::io::Result<()> {
        self.write_all(line.to_string().as_bytes())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn webhook_secret(
    config: &Config,
    user: &str,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    UserId::try_from(user.to_owned())
        .map_err(|error| Error::Usage(format!("the user id {error}")))?;
    let notifier = &config.notifier;
    let secrets = notifier.signing_secrets.iter();
    let secrets = secrets.map(|master| Ok(user_secret(master, user)?.expose().to_owned()));
    let secrets: Vec<String> = secrets.collect::<anyhow::Result<_>>()?;
    let keys = notifier.signing_keys.iter();
    let keys = keys.map(|key| Ok(MasterKey::parse(key)?.public(user)));
    let keys: Vec<String> = keys.collect::<anyhow::Result<_>>()?;
    if as_json {
        writeln!(out, "{}", json!({"secrets": secrets, "public_keys": keys}))?;
        return Ok(());
    }
    for line in secrets.iter().chain(&keys) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_secret_follows_from_master_and_user() {
        let config = Config::of(&[]).unwrap();
        let mut out = Vec::new();

        webhook_secret(&config, "alice", false, &mut out).unwrap();

        // From Python: hmac.new(b"genflow-dev-secret-not-for-prod", b"v1:alice", "sha256")
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            "whsec_mr9e0jkDou7wpYjJ5V7jmba+hnXCRO7lEVk6EwjktR8=\n"
        );
    }
}
