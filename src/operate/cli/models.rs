//! `genflow models`: what a model accepts, and what genflow would send it. It submits nothing, so it costs nothing.

use std::io::Write;

use serde_json::json;

use super::check::{Source, Sources, check};
use super::submit::{SubmitArgs, requests};
use super::table::{Column, Table};
use super::{Error, provider};
use crate::domain::ProviderName;
use crate::domain::model::bundle;
use crate::engines::config::{Config, Protocol};
use crate::operate::text::plain;

/// `genflow models`.
#[derive(Debug, clap::Subcommand)]
pub enum Models {
    /// List the models whose inputs genflow knows without asking their providers
    List {
        /// Only models of this provider: replicate, openai, fal or one of PROVIDERS_FILE
        #[arg(long, value_name = "NAME", value_parser = provider)]
        provider: Option<ProviderName>,
        /// Print each model as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a model accepts: each of its inputs, and the values that it takes
    Show {
        /// Name of the model; a version may follow a colon
        model: String,
        /// Provider of the model: replicate, openai, fal or one of PROVIDERS_FILE
        #[arg(long, value_name = "NAME", value_parser = provider, default_value = "replicate")]
        provider: ProviderName,
        #[command(flatten)]
        source: Source,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what genflow would send for requests, and what it would refuse; takes the options of submit
    Check {
        #[command(flatten)]
        submit: Box<SubmitArgs>,
        #[command(flatten)]
        source: Source,
    },
}

/// Runs one of the commands; returns its exit code: 1 if a request is refused.
pub(super) async fn run(
    config: &Config,
    models: &Models,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    match models {
        Models::List { provider, json } => list(config, *provider, *json, out)?,
        Models::Show {
            model,
            provider,
            source,
            json,
        } => {
            known(config, *provider)?;
            show(
                &Sources::new(config, *source)?,
                *provider,
                model,
                *json,
                out,
            )
            .await?;
        }
        Models::Check { submit, source } => {
            let requests = requests(submit).await?;
            return check(&Sources::new(config, *source)?, &requests, submit.json, out).await;
        }
    }
    Ok(0)
}

/// Checks that a provider is configured.
fn known(config: &Config, provider: ProviderName) -> Result<(), Error> {
    let named = &config.worker.named;
    if named.of(provider).is_some() {
        return Ok(());
    }
    let (name, names) = (provider.as_str(), named.names());
    let problem =
        format!("--provider is {name:?}, which is not configured; expected one of: {names}");
    Err(Error::Usage(problem))
}

fn list(
    config: &Config,
    only: Option<ProviderName>,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut table = Table::new(["provider", "model"].map(Column::Left));
    only.map_or(Ok(()), |only| known(config, only))?;
    let providers = config.worker.named.iter();
    for (name, own) in providers.filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let models: Vec<&str> = match &own.protocol {
            Protocol::Described(api) => api.models.keys().map(String::as_str).collect(),
            Protocol::Replicate | Protocol::OpenAi | Protocol::Fal | Protocol::Unknown => {
                bundle::names(name).collect()
            }
        };
        for model in models {
            let provider = name.as_str();
            match as_json {
                true => writeln!(out, "{}", json!({"provider": provider, "model": model}))?,
                false => table.row([provider.into(), model.into()]),
            }
        }
    }
    if !as_json {
        table.print(out)?;
    }
    Ok(())
}

async fn show(
    sources: &Sources<'_>,
    provider: ProviderName,
    model: &str,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let profile = sources
        .profile(sources.media_with_key(provider), provider, model)
        .await;
    let inputs = profile.inputs();
    let prices: Vec<_> = sources.prices().lines(&profile).collect();
    if as_json {
        let shown = inputs.map(|input| {
            json!({
                "name": input.name,
                "accepts": input.accepts,
                "default": input.default,
                "required": input.is_required,
            })
        });
        let answer = json!({
            "provider": provider.as_str(),
            "model": model,
            "schema": profile.origin,
            "inputs": shown.collect::<Vec<_>>(),
            "prices": prices,
        });
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{} {} ({})",
        provider.as_str(),
        plain(model),
        profile.origin
    )?;
    for input in inputs {
        let name = match input.is_required {
            true => format!("{}*", input.name),
            false => input.name.clone(),
        };
        let default = input
            .default
            .map(|default| format!(" [default: {default}]"));
        let line = format!(
            "  {name:<28} {}{}",
            input.accepts,
            default.unwrap_or_default()
        );
        writeln!(out, "{}", plain(&line))?;
    }
    for price in prices {
        writeln!(out, "  costs {}", plain(&price))?;
    }
    Ok(())
}
