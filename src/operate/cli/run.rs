//! Runs the operator's commands and prints their results.

use std::io::Write;

use uuid::Uuid;

use super::{
    Ask, Error, Operator, budget, costs, doctor, get, health, list, models, notifications, replay,
    status, submit, watch,
};
use crate::domain::{Action, Command, CommandId, RequestId, UserId};
use crate::engines::config::Config;
use crate::engines::kafka::admin::Asked;
use crate::operate::sender::RecordSender;
use crate::operate::setup;
use crate::roles::notifier;
use crate::roles::notifier::user_secret;

/// Runs one command, and returns its exit code.
///
/// # Errors
/// [`super::exit_code`] has a code for each.
pub async fn operate(
    config: &Config,
    command: &Operator,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    ignoring_closed_pipe(carry_out(config, command, out).await)
}

async fn carry_out(config: &Config, command: &Operator, out: &mut dyn Write) -> anyhow::Result<u8> {
    match command {
        Operator::Setup { grow, replication } => {
            let asked = Asked {
                grow: *grow,
                replication: replication.map(usize::from),
            };
            setup::run(config, asked, out).await?;
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
        Operator::Cancel(asked) => ask(config, Action::Cancel, asked, out).await?,
        Operator::Retry(asked) => ask(config, Action::Retry, asked, out).await?,
        Operator::Watch(watch) => watch::watch(config, watch, out).await?,
        Operator::WebhookSecret { user } => webhook_secret(config, user, out)?,
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

/// Sends a command about a request and prints the command's id. Needs Kafka and the registry, not Temporal.
async fn ask(
    config: &Config,
    action: Action,
    asked: &Ask,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let issued_by = match action {
        Action::Cancel => "genflow cancel",
        Action::Retry => "genflow retry",
    };
    let request = RequestId::try_from(asked.id.clone());
    let command = Command {
        id: CommandId::try_from(Uuid::new_v4().to_string())?,
        request: request.map_err(|error| Error::Usage(format!("request id {error}")))?,
        action,
        reason: asked.reason.clone(),
        issued_by: Some(asked.by.clone().unwrap_or_else(|| issued_by.to_owned())),
    };
    let sender = RecordSender::open(config, asked.key.get()?).await?;
    let topic = &config.kafka.topics.commands;
    sender.command(topic, &command).await?;
    writeln!(out, "{}", command.id.as_str())?;
    Ok(())
}

fn webhook_secret(config: &Config, user: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    UserId::try_from(user.to_owned())
        .map_err(|error| Error::Usage(format!("the user id {error}")))?;
    for master in &config.notifier.signing_secrets {
        writeln!(out, "{}", user_secret(master, user)?.expose())?;
    }
    for key in &config.notifier.signing_keys {
        writeln!(out, "{}", notifier::MasterKey::parse(key)?.public(user))?;
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

        webhook_secret(&config, "alice", &mut out).unwrap();

        // From Python: hmac.new(b"genflow-dev-secret-not-for-prod", b"v1:alice", "sha256")
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            "whsec_mr9e0jkDou7wpYjJ5V7jmba+hnXCRO7lEVk6EwjktR8=\n"
        );
    }
}
