//! The sample requests of `genflow dev`: sent and followed by `genflow submit`, as a user does.

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use uuid::Uuid;

use super::real::Offer;
use super::{DevRun, say};
use crate::engines::config::Config;
use crate::operate::cli::{self, CliCommand};

/// Mail address of the image; only the mail catcher receives mail for it.
const MAILED_TO: &str = "demo@example.com";

/// Sends one request of each kind, shows their events until they have ended, and waits for their webhooks. If there is
/// a mailbox, also waits for the mail about the image.
pub(super) async fn run(dev_run: &DevRun) -> anyhow::Result<()> {
    let [image, video, batch] = ["image", "video", "batch"].map(fresh_id);
    let mailed = dev_run.mailbox.as_ref().map(|_| MAILED_TO);
    let mut requests = [
        json!({"request_id": image, "type": "image", "prompt": "a red fox in the snow", "width": 512, "height": 512,
            "notify_email": mailed}),
        json!({"request_id": video, "type": "video", "prompt": "waves at dusk", "duration": 5,
            "resolution": "1280x720"}),
        json!({"request_id": batch, "type": "batch", "max_concurrent": 2, "items": [
            {"prompt": "an owl", "type": "image", "width": 512, "height": 512},
            {"prompt": "a lynx", "type": "image", "width": 512, "height": 512},
            {"prompt": "a hare", "type": "image", "width": 512, "height": 512},
        ]}),
    ];
    send(dev_run, &mut requests).await?;
    for request in [&image, &video, &batch] {
        dev_run.receiver.received(request).await;
    }
    if let Some(mailbox) = &dev_run.mailbox {
        let subject = mailbox.received(&image).await;
        say(&format!("  {image:<24} mail arrived: {subject}"));
    }
    say("the sample requests completed");
    Ok(())
}

/// Sends the one request of `--real`, shows its events until it has ended, and waits for its webhook.
pub(super) async fn run_real(dev_run: &DevRun, offer: &Offer) -> anyhow::Result<()> {
    let id = fresh_id(offer.word());
    let mut request = offer.request();
    request["request_id"] = json!(id);
    send(dev_run, &mut [request]).await?;
    dev_run.receiver.received(&id).await;
    say(&format!("the real {} is made", offer.word()));
    Ok(())
}

fn fresh_id(kind: &str) -> String {
    let unique = Uuid::new_v4().simple().to_string();
    format!("{kind}-{}", unique.get(..8).unwrap_or_default())
}

/// Sends requests and shows their events until all have ended.
async fn send(dev_run: &DevRun, requests: &mut [Value]) -> anyhow::Result<()> {
    for request in requests.iter_mut() {
        request["webhook_url"] = json!(dev_run.receiver.webhook_url());
        request["metadata"] = json!({"sent_by": "genflow dev"});
    }
    let file = dev_run.data.join("samples.json");
    std::fs::write(&file, Value::from(requests.to_vec()).to_string())
        .context("the sample requests could not be written to a file")?;
    let file = file.display().to_string();
    let submit = ["submit", "--file", &file, "--user", "demo", "--watch"];
    if operate(&dev_run.config, &submit).await? != 0 {
        bail!("a sample request did not complete");
    }
    Ok(())
}

/// Runs an operator's command; returns its exit code.
pub(super) async fn operate(config: &Config, arguments: &[&str]) -> anyhow::Result<u8> {
    let words = ["genflow"].iter().chain(arguments);
    match cli::parse(words.map(Into::into)).map(|cli| cli.command) {
        Ok(CliCommand::Operator(command)) => {
            Ok(cli::run::operate(config, &command, &mut anstream::stdout()).await?)
        }
        Ok(_) | Err(_) => bail!("{arguments:?} is not an operator's command"),
    }
}
