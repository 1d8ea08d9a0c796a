//! A role that tests observe through its HTTP pages.

use std::net::SocketAddr;

use super::process::Process;
use super::{Space, eventually, nowhere};

/// A role and its pages.
pub(crate) struct Watched {
    pub(crate) process: Process,
    address: SocketAddr,
    pages: String,
}

impl Watched {
    pub(crate) fn start(space: &Space, role: &str, settings: &[(&str, &str)]) -> Self {
        let address = nowhere();
        let text = address.to_string();
        let mut all = vec![("HTTP_ADDR", text.as_str())];
        all.extend_from_slice(settings);
        Self {
            process: space.start_with(&[role], &all),
            address,
            pages: format!("http://{address}"),
        }
    }

    /// Returns where its pages are.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn page(&self, name: &str) -> String {
        match reqwest::get(format!("{}/{name}", self.pages)).await {
            Ok(page) => page.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    pub(crate) async fn status(&self, page: &str) -> u16 {
        let answer = reqwest::get(format!("{}/{page}", self.pages)).await;
        answer.unwrap().status().as_u16()
    }

    /// Waits until all roles of the process are ready.
    pub(crate) async fn ready(&self) {
        let url = format!("{}/readyz", self.pages);
        eventually("the process is ready", async || {
            let answer = reqwest::get(&url).await;
            answer
                .is_ok_and(|answer| answer.status().is_success())
                .then_some(())
        })
        .await;
    }

    /// Waits until a page contains `text`.
    pub(crate) async fn says(&self, page: &str, text: &str) {
        eventually(&format!("{page} contains {text}"), async || {
            self.page(page).await.contains(text).then_some(())
        })
        .await;
    }

    /// Returns a metric, summed over its labels.
    pub(crate) async fn sum(&self, metric: &str) -> f64 {
        let page = self.page("metrics").await;
        let of_metric = page.lines().filter_map(|line| line.strip_prefix(metric));
        let labelled = of_metric.filter(|rest| rest.starts_with(['{', ' ']));
        let values = labelled.filter_map(|rest| rest.rsplit(' ').next());
        values.map(|value| value.parse::<f64>().unwrap()).sum()
    }
}
