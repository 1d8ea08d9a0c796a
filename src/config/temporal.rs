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
    /// Queue of workflows, `submit` and `finish`; `fetch` has the same name with `-fetch` behind it.
    pub task_queue: String,
    /// API key of a hosted server.
    pub api_key: Option<Secret>,
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
    Temporal {
        url: url.unwrap_or_else(vars::no_url),
        namespace: vars.name("TEMPORAL_NAMESPACE", "default"),
        task_queue: vars.name("TEMPORAL_TASK_QUEUE", "genflow"),
        api_key: vars.optional("TEMPORAL_API_KEY").map(Secret::new),
    }
}
