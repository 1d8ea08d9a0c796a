//! The Temporal server and our place in it.

use url::Url;

use super::vars::{self, Secret, Vars};

/// The Temporal server and our place in it.
#[derive(Clone, Debug)]
pub struct Temporal {
    /// As `http://host:port`.
    pub url: Url,
    /// Namespace.
    pub namespace: String,
    /// Queue of workflows, `submit` and `finish`; that of `fetch` has `-fetch` behind it, that of deliveries `-notify`.
    pub task_queue: String,
    /// Namespace of the delivery workflows.
    pub notify_namespace: String,
    /// API key of a hosted server.
    pub api_key: Option<Secret>,
}

impl Temporal {
    /// Returns the place of the delivery workflows: their namespace, and their queue, `-notify` behind the main one's name.
    pub fn for_deliveries(&self) -> Self {
        Self {
            namespace: self.notify_namespace.clone(),
            task_queue: format!("{}-notify", self.task_queue),
            ..self.clone()
        }
    }
}

pub(super) fn read(vars: &mut Vars<'_>) -> Temporal {
    let host = vars.string("TEMPORAL_HOST", "127.0.0.1:7233");
    let text = if host.contains("://") {
        host.clone()
    } else {
        format!("http://{host}")
    };
    let url = Url::parse(&text)
        .ok()
        .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    if url.is_none() {
        vars.fault(
            "TEMPORAL_HOST",
            &format!("is {host:?}, want host:port or a URL"),
        );
    }
    let namespace = vars.name("TEMPORAL_NAMESPACE", "default");
    Temporal {
        url: url.unwrap_or_else(vars::no_url),
        notify_namespace: vars.name("NOTIFY_NAMESPACE", &namespace),
        namespace,
        task_queue: vars.name("TEMPORAL_TASK_QUEUE", "genflow"),
        api_key: vars.key("TEMPORAL_API_KEY"),
    }
}
