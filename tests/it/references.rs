//! The references in `docs/configuration.md` and `docs/schemas.md`: all below the mark in each page is made from the
//! program. `GENFLOW_RECORD=docs cargo test --test it references::` writes both anew.

mod schemas;
mod settings;

use std::path::Path;

/// The mark ends the part of a page that people write.
const MARK: &str = "<!-- The rest is made from the program: see tests/it/references.rs. -->\n\n";

/// Compares the reference of a page with what was made, or writes it if that is asked for.
fn check(page: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (prose, reference) = text.split_once(MARK).unwrap();
    let made = made.trim_end();
    if std::env::var("GENFLOW_RECORD").is_ok_and(|what| what == "docs") {
        std::fs::write(path, format!("{prose}{MARK}{made}\n")).unwrap();
        return;
    }

    assert!(
        reference.trim_end() == made,
        "{page} is not as the program: GENFLOW_RECORD=docs cargo test --test it references:: writes it"
    );
}
