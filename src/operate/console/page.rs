//! The console's web page. Its files are compiled into the program, so it needs neither a build step nor the internet.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and text of each file.
const FILES: [(&str, &str, &str); 9] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("page/style.css"),
    ),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("view.js", SCRIPT, include_str!("page/view.js")),
    ("list.js", SCRIPT, include_str!("page/list.js")),
    ("detail.js", SCRIPT, include_str!("page/detail.js")),
    ("others.js", SCRIPT, include_str!("page/others.js")),
    ("actions.js", SCRIPT, include_str!("page/actions.js")),
    ("icons.js", SCRIPT, include_str!("page/icons.js")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

pub(super) async fn index() -> Response {
    (
        [(header::CONTENT_TYPE, HTML)],
        include_str!("page/index.html"),
    )
        .into_response()
}

/// Serves a file of the page. For any other path, serves the page, whose script shows the view of that path.
pub(super) async fn file(Path(path): Path<String>) -> Response {
    match FILES.iter().find(|(name, _, _)| *name == path) {
        Some((_, kind, text)) => ([(header::CONTENT_TYPE, *kind)], *text).into_response(),
        None if path.contains('.') => StatusCode::NOT_FOUND.into_response(),
        None => index().await,
    }
}
