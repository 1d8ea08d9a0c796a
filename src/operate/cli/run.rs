//! Runs the operator's commands and prints their results.

use std::io::Write;

use uuid::Uuid;

use super::sender::Sender;
use super::{Ask, Error, Operator, doctor, list, replay, submit, watch};
use crate::contract::avro;
use crate::domain::{Action, Command, CommandId, RequestId};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::kafka::admin::Asked;
use crate::engines::kafka::producer;
use crate::engines::kafka::{admin, tail};
use crate::engines::registry;
use crate::engines::temporal::admin as temporal;
use crate::operate::{cli, setup};
use crate::roles::notifier;
use crate::roles::notifier::user_secret;

/// Runs one command, and returns its exit code. A closed output pipe is not a fault.
///
/// # Errors
/// Each error is one line for standard error, and has its exit code.
pub async fn operate(
    config: &Config,
    command: &Operator,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    match carry_out(config, command, out).await {
        Err(Error::Failed(error)) if is_closed_pipe(&error) => Ok(0),
        ended => ended,
    }
}

async fn carry_out(config: &Config, command: &Operator, out: &mut dyn Write) -> Result<u8, Error> {
    match command {
        Operator::Setup { grow, replication } => {
            let replication = replication.map(usize::from);
            let asked = Asked {
                grow: *grow,
                replication,
            };
            setup::run(config, asked, out).await?;
        }
        Operator::Doctor { json, try_fairness } => {
            return doctor::run(config, *json, *try_fairness, out).await;
        }
        Operator::List(list) => return list::list(config, list, out).await,
        Operator::Replay(replay) => return replay::replay(config, replay, out).await,
        Operator::Submit(submit) => return submit::submit(config, submit, out).await,
        Operator::Cancel(asked) => ask(config, Action::Cancel, asked, out).await?,
        Operator::Retry(asked) => ask(config, Action::Retry, asked, out).await?,
        Operator::Watch(watch) => watch::watch(config, watch, out).await?,
        Operator::WebhookSecret { user } => webhook_secret(config, user, out)?,
    }
    Ok(0)
}

pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(closed)
}

/// Sends a command about a request and prints the command's id. Needs Kafka and the registry, not Temporal.
///
/// # Errors
/// The request id is invalid, or an engine does not answer.
pub async fn ask(
    config: &Config,
    action: Action,
    asked: &Ask,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let issued_by = match action {
        Action::Cancel => "genflow cancel",
        Action::Retry => "genflow retry",
    };
    let request = RequestId::try_from(asked.id.clone());
    let request = request.map_err(|error| Error::Usage(format!("request id {error}")))?;
    let id = CommandId::try_from(Uuid::new_v4().to_string());
    let command = Command {
        id: id.map_err(|error| Error::Usage(format!("command id {error}")))?,
        request,
        action,
        reason: asked.reason.clone(),
        issued_by: Some(asked.by.clone().unwrap_or_else(|| issued_by.to_owned())),
    };
    let sender = Sender::open(config, asked.api_key.as_deref()).await?;
    let datum = avro::write_command(&command, Some(now())).map_err(anyhow::Error::from)?;
    let topic = &config.kafka.topics.commands;
    let value = sender.frame(topic, &avro::COMMAND, &datum).await?;
    sender.send(topic, command.request.as_str(), &value).await?;
    writeln!(out, "{}", command.id.as_str())?;
    Ok(())
}

fn webhook_secret(config: &Config, user: &str, out: &mut dyn Write) -> Result<(), Error> {
    if !(1..=128).contains(&user.chars().count()) {
        let problem = "the user id is invalid, expected 1 to 128 characters";
        return Err(Error::Usage(problem.to_owned()));
    }
    for master in &config.notifier.signing_secrets {
        let secret = user_secret(master, user).map_err(anyhow::Error::from)?;
        writeln!(out, "{}", secret.expose())?;
    }
    for key in &config.notifier.signing_keys {
        let key = notifier::Key::parse(key).map_err(anyhow::Error::from)?;
        writeln!(out, "{}", key.public(user))?;
    }
    Ok(())
}

impl From<anyhow::Error> for cli::Error {
    /// Classifies an error as unavailable if an engine that does not answer is among its causes.
    fn from(error: anyhow::Error) -> Self {
        let unavailable = error.chain().any(|cause| {
            let kafka = cause.downcast_ref::<admin::Error>();
            let server = cause.downcast_ref::<temporal::Error>();
            let level = cause.downcast_ref::<registry::LevelError>();
            matches!(kafka, Some(admin::Error::Unreachable { .. }))
                || matches!(
                    server,
                    Some(temporal::Error::Unreachable { .. } | temporal::Error::Late(_))
                )
                || matches!(level, Some(registry::LevelError::Unavailable(_)))
                || matches!(
                    cause.downcast_ref::<registry::Error>(),
                    Some(registry::Error::Unavailable(_))
                )
                || matches!(
                    cause.downcast_ref::<producer::Error>(),
                    Some(producer::Error::Refused { .. })
                )
                || matches!(
                    cause.downcast_ref::<tail::Error>(),
                    Some(tail::Error::Unreachable { .. })
                )
        });
        if unavailable {
            Self::Unavailable(error)
        } else {
            Self::Failed(error)
        }
    }
}

impl From<admin::Error> for cli::Error {
    fn from(error: admin::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<producer::Error> for cli::Error {
    fn from(error: producer::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<registry::Error> for cli::Error {
    fn from(error: registry::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<tail::Error> for cli::Error {
    fn from(error: tail::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<std::io::Error> for cli::Error {
    fn from(error: std::io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
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
